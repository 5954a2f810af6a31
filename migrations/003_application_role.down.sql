-- The role itself stays: it belongs to the whole server, and another database may use it. PUBLIC gets USAGE back,
-- which is what PostgreSQL 15 and newer begin with.

DROP SCHEMA app;

ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE USAGE ON SEQUENCES FROM example_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM example_app;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM example_app;
REVOKE ALL ON SCHEMA public FROM example_app;
GRANT USAGE ON SCHEMA public TO PUBLIC;
