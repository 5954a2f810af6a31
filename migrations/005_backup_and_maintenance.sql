-- A role that may read everything for a backup, and a schema with a function for routine work.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'example_backup') THEN
        CREATE ROLE example_backup NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
END
$$;

GRANT USAGE ON SCHEMA public, app, analytics TO example_backup;
GRANT SELECT ON ALL TABLES IN SCHEMA public, app, analytics TO example_backup;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public, app, analytics TO example_backup;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, app, analytics GRANT SELECT ON TABLES TO example_backup;

CREATE SCHEMA maintenance;

CREATE FUNCTION maintenance.delete_users_without_products(older_than interval) RETURNS bigint
LANGUAGE sql
AS $$
    WITH gone AS (
        DELETE FROM public.users u
        WHERE u.created_at < now() - older_than
          AND NOT EXISTS (SELECT FROM public.products p WHERE p.user_id = u.id)
        RETURNING 1
    )
    SELECT count(*) FROM gone;
$$;
