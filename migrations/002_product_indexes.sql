-- CONCURRENTLY builds an index while the application goes on writing. PostgreSQL allows it only outside a
-- transaction; db_setup sees that by itself and runs this file step by step.

CREATE INDEX CONCURRENTLY IF NOT EXISTS products_user_id ON products (user_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS products_name ON products (lower(name));
