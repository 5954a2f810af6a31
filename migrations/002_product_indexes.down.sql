-- Also stepwise: what is done is recorded, and a rollback that stops half way goes on from there.

DROP INDEX CONCURRENTLY IF EXISTS products_name;
DROP INDEX CONCURRENTLY IF EXISTS products_user_id;
