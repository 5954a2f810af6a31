-- The role stays, as in 003.

DROP FUNCTION maintenance.delete_users_without_products(interval);
DROP SCHEMA maintenance;

ALTER DEFAULT PRIVILEGES IN SCHEMA public, app, analytics REVOKE SELECT ON TABLES FROM example_backup;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public, app, analytics FROM example_backup;
REVOKE ALL ON ALL TABLES IN SCHEMA public, app, analytics FROM example_backup;
REVOKE ALL ON SCHEMA public, app, analytics FROM example_backup;
