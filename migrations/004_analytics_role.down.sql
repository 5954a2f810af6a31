-- The role stays, as in 003.

DROP VIEW analytics.products_per_user;

ALTER DEFAULT PRIVILEGES IN SCHEMA public, analytics REVOKE SELECT ON TABLES FROM example_analytics;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM example_analytics;
REVOKE ALL ON SCHEMA public FROM example_analytics;
DROP SCHEMA analytics;
