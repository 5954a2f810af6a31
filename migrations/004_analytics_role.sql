-- Analysts read everything and change nothing.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'example_analytics') THEN
        CREATE ROLE example_analytics NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
END
$$;

CREATE SCHEMA analytics;
GRANT USAGE ON SCHEMA public, analytics TO example_analytics;
GRANT SELECT ON ALL TABLES IN SCHEMA public, analytics TO example_analytics;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, analytics GRANT SELECT ON TABLES TO example_analytics;

CREATE VIEW analytics.products_per_user AS
SELECT u.email, count(p.id) AS products, sum(p.price) AS total
FROM public.users u
LEFT JOIN public.products p ON p.user_id = u.id
GROUP BY u.email;
