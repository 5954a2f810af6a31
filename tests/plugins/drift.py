"""A schema with objects of every kind, and drifts to plant in it: what is found, and how."""

from __future__ import annotations

SCHEMA = """
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('ok', 'so''so', 'bad');
CREATE DOMAIN shop.email AS text NOT NULL DEFAULT 'x@y' CHECK (VALUE LIKE '%@%');
CREATE TYPE shop.pair AS (a int, b text COLLATE "C");
CREATE TYPE shop.span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TABLE shop.customers (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100) PRIMARY KEY,
    "Full Name" text COLLATE "C" NOT NULL DEFAULT 'nobody',
    kind varchar(20) NOT NULL DEFAULT 'a' CHECK (kind IN ('a', 'b', 'it''s')),
    code varchar CHECK (code IN ('x', 'y') OR code IS NULL),
    email shop.email, mood shop.mood DEFAULT 'ok',
    price numeric(10,2), tax numeric GENERATED ALWAYS AS (price * 0.2) STORED,
    since timestamptz DEFAULT now() - interval '1 day', day date DEFAULT '2020-01-31', starts timestamptz DEFAULT '2024-01-01 00:00+00',
    tags text[] DEFAULT ARRAY['a', 'b'], raw jsonb DEFAULT '{"a": [1]}',
    parent bigint CONSTRAINT parent_fk REFERENCES shop.customers DEFERRABLE INITIALLY DEFERRED,
    dropped int,
    CONSTRAINT apart EXCLUDE USING gist (int4range(1, 2) WITH &&) WHERE (kind = 'b')
);
ALTER TABLE shop.customers DROP COLUMN dropped;
ALTER TABLE shop.customers ALTER raw SET STORAGE EXTERNAL;
ALTER TABLE shop.customers ADD CONSTRAINT late CHECK (price > 0) NOT VALID;
ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON shop.customers FOR SELECT USING (kind IN ('a', 'b') AND "Full Name" = current_user);
CREATE TABLE shop.orders (
    id bigserial, at date NOT NULL, customer bigint REFERENCES shop.customers, note text, PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE INDEX orders_customer ON shop.orders (customer);
CREATE TABLE shop.orders_2024 PARTITION OF shop.orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE shop.orders_rest PARTITION OF shop.orders DEFAULT;
CREATE INDEX lower_note ON shop.orders (lower(note)) WHERE note IS NOT NULL;
CREATE TABLE shop.lines (
    order_id bigint, at date, n int, FOREIGN KEY (order_id, at) REFERENCES shop.orders ON DELETE CASCADE
);
CREATE UNLOGGED TABLE shop.cache (k text PRIMARY KEY, v text) WITH (fillfactor = 70);
CREATE TABLE shop.special (extra int) INHERITS (shop.cache);
CREATE VIEW shop.v1 WITH (security_barrier) AS
    SELECT *, kind IN ('a', 'b') AS is_ab FROM shop.customers WHERE mood <> 'bad';
CREATE VIEW shop.v2 AS SELECT id, count(*) OVER () AS n, CASE WHEN is_ab THEN 1 ELSE 2 END AS c
    FROM shop.v1 JOIN shop.orders USING (id) WHERE at BETWEEN '2024-01-01' AND now();
CREATE MATERIALIZED VIEW shop.mv AS SELECT customer, count(*) FROM shop.orders GROUP BY customer;
CREATE UNIQUE INDEX mv_customer ON shop.mv (customer);
CREATE FUNCTION shop.f(a int, b text DEFAULT 'x') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a';
CREATE FUNCTION shop.f(a text) RETURNS TABLE (x int, y text) LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = shop AS $$ BEGIN RETURN; END $$;
CREATE PROCEDURE shop.p(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := 1; END $$;
CREATE AGGREGATE shop.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE FUNCTION shop.trg() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER t1 AFTER INSERT OR UPDATE OF note ON shop.orders
    FOR EACH ROW WHEN (NEW.note IN ('a', 'b')) EXECUTE FUNCTION shop.trg();
CREATE TRIGGER t2 AFTER DELETE ON shop.customers FOR EACH STATEMENT EXECUTE FUNCTION shop.trg();
ALTER TABLE shop.customers DISABLE TRIGGER t2;
CREATE RULE r1 AS ON INSERT TO shop.cache WHERE NEW.k = 'none' DO INSTEAD NOTHING;
CREATE SEQUENCE shop.seq INCREMENT 5 MAXVALUE 100 CYCLE;
CREATE STATISTICS shop.st ON k, v FROM shop.cache;
CREATE COLLATION shop.plain (provider = libc, locale = 'C');
CREATE OPERATOR shop.=== (LEFTARG = int, RIGHTARG = int, PROCEDURE = int4eq);
CREATE TEXT SEARCH CONFIGURATION shop.tsc (COPY = english);
CREATE PUBLICATION pub FOR TABLE shop.lines;
GRANT SELECT, UPDATE ("Full Name") ON shop.customers TO PUBLIC;
GRANT USAGE ON SCHEMA shop TO PUBLIC;
REVOKE EXECUTE ON FUNCTION shop.f(text) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO PUBLIC;
COMMENT ON TABLE shop.customers IS 'People';
COMMENT ON COLUMN shop.customers.price IS 'In euro';
"""

# Names that mean something to SQL, to regular expressions, or to what fills texts in.
ODD_NAMES = (
    r"CORP\uadmin", r"back \1 \g<0>", "br{ace}s {0} {name}", "per%cent %s %(x)s", """quo'te's "and" more""", "dol$lar $1 $$",
    "tricky.*[name] (a|b)",
)  # fmt: skip

FILES, DATABASE, DIFFERS = "only in the files", "only in the database", "differs"

# What is done to the database by hand; the kind and name of the one object that is found; how it differs.
DRIFTS = (
    ("CREATE SCHEMA spare", "schema", "spare", DATABASE),
    ("CREATE TABLE shop.spare (i int PRIMARY KEY, j serial)", "table", "shop.spare", DATABASE),
    ("ALTER TABLE shop.cache SET LOGGED", "table", "shop.cache", DIFFERS),
    ("ALTER TABLE shop.cache SET (fillfactor = 90)", "table", "shop.cache", DIFFERS),
    ("ALTER TABLE shop.special NO INHERIT shop.cache", "table", "shop.special", DIFFERS),
    ("ALTER TABLE shop.customers DISABLE ROW LEVEL SECURITY", "table", "shop.customers", DIFFERS),
    ("ALTER TABLE shop.customers FORCE ROW LEVEL SECURITY", "table", "shop.customers", DIFFERS),
    ("ALTER TABLE shop.lines OWNER TO pg_monitor", "table", "shop.lines", DIFFERS),
    ("ALTER TABLE shop.lines REPLICA IDENTITY FULL", "table", "shop.lines", DIFFERS),
    ("ALTER TABLE shop.lines ADD COLUMN spare int", "column", "shop.lines.spare", DATABASE),
    ("ALTER TABLE shop.lines DROP COLUMN n", "column", "shop.lines.n", FILES),
    ("ALTER TABLE shop.lines ALTER n TYPE bigint", "column", "shop.lines.n", DIFFERS),
    ("ALTER TABLE shop.lines ALTER n SET NOT NULL", "column", "shop.lines.n", DIFFERS),
    ("ALTER TABLE shop.customers ALTER mood SET DEFAULT 'bad'", "column", "shop.customers.mood", DIFFERS),
    ("ALTER TABLE shop.customers ALTER mood DROP DEFAULT", "column", "shop.customers.mood", DIFFERS),
    ("ALTER TABLE shop.customers ALTER id SET GENERATED BY DEFAULT", "column", "shop.customers.id", DIFFERS),
    ("ALTER TABLE shop.customers ALTER raw SET STORAGE MAIN", "column", "shop.customers.raw", DIFFERS),
    ("ALTER TABLE shop.lines ADD CONSTRAINT spare CHECK (n > 0)", "constraint", "spare on shop.lines", DATABASE),
    ("ALTER TABLE shop.customers DROP CONSTRAINT late", "constraint", "late on shop.customers", FILES),
    ("ALTER TABLE shop.customers VALIDATE CONSTRAINT late", "constraint", "late on shop.customers", DIFFERS),
    ("ALTER TABLE shop.customers ALTER CONSTRAINT parent_fk NOT DEFERRABLE", "constraint", "parent_fk on shop.customers", DIFFERS),
    ("CREATE INDEX spare ON shop.lines (n)", "index", "shop.spare", DATABASE),
    ("DROP INDEX shop.mv_customer; CREATE INDEX mv_customer ON shop.mv (customer)", "index", "shop.mv_customer", DIFFERS),
    ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'shop.mv_customer'::regclass", "index", "shop.mv_customer", DIFFERS),
    ("CREATE VIEW shop.spare AS SELECT 1 AS one", "view", "shop.spare", DATABASE),
    ("DROP VIEW shop.v2", "view", "shop.v2", FILES),
    ("CREATE OR REPLACE VIEW shop.v2 AS SELECT id, 1::bigint AS n, 2 AS c FROM shop.orders", "view", "shop.v2", DIFFERS),
    ("ALTER VIEW shop.v1 RESET (security_barrier)", "view", "shop.v1", DIFFERS),
    ("DROP MATERIALIZED VIEW shop.mv", "materialised view", "shop.mv", FILES),
    ("CREATE FUNCTION shop.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function", "shop.f()", DATABASE),
    ("DROP FUNCTION shop.f(int, text)", "function", "shop.f(a integer, b text)", FILES),
    ("CREATE OR REPLACE FUNCTION shop.f(a int, b text DEFAULT 'x') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 7'", "function", "shop.f(a integer, b text)", DIFFERS),
    ("ALTER FUNCTION shop.f(int, text) VOLATILE", "function", "shop.f(a integer, b text)", DIFFERS),
    ("ALTER FUNCTION shop.f(text) SECURITY INVOKER", "function", "shop.f(a text)", DIFFERS),
    ("DROP PROCEDURE shop.p", "procedure", "shop.p(INOUT n integer)", FILES),
    ("DROP AGGREGATE shop.total(int); CREATE AGGREGATE shop.total(int) (SFUNC = int4mi, STYPE = int, INITCOND = '0')", "aggregate", "shop.total(integer)", DIFFERS),
    ("CREATE TRIGGER spare BEFORE INSERT ON shop.lines FOR EACH ROW EXECUTE FUNCTION shop.trg()", "trigger", "spare on shop.lines", DATABASE),
    ("DROP TRIGGER t1 ON shop.orders", "trigger", "t1 on shop.orders", FILES),
    ("ALTER TABLE shop.customers ENABLE TRIGGER t2", "trigger", "t2 on shop.customers", DIFFERS),
    ("DROP RULE r1 ON shop.cache", "rule", "r1 on shop.cache", FILES),
    ("ALTER TYPE shop.mood ADD VALUE 'worse'", "enum", "shop.mood", DIFFERS),
    ("ALTER DOMAIN shop.email DROP NOT NULL", "domain", "shop.email", DIFFERS),
    ("ALTER TYPE shop.pair ADD ATTRIBUTE c int", "composite type", "shop.pair", DIFFERS),
    ("DROP TYPE shop.span", "range", "shop.span", FILES),
    ("CREATE SEQUENCE shop.spare", "sequence", "shop.spare", DATABASE),
    ("DROP SEQUENCE shop.seq", "sequence", "shop.seq", FILES),
    ("ALTER SEQUENCE shop.seq INCREMENT 7", "sequence", "shop.seq", DIFFERS),
    ("ALTER SEQUENCE shop.orders_id_seq OWNED BY NONE", "sequence", "shop.orders_id_seq", DIFFERS),
    ("DROP POLICY own ON shop.customers", "policy", "own on shop.customers", FILES),
    ("ALTER POLICY own ON shop.customers USING (true)", "policy", "own on shop.customers", DIFFERS),
    ("GRANT SELECT ON shop.lines TO pg_monitor", "grants", "table shop.lines", DATABASE),
    ("REVOKE SELECT ON shop.customers FROM PUBLIC", "grants", "table shop.customers", FILES),
    ("GRANT INSERT ON shop.customers TO PUBLIC", "grants", "table shop.customers", DIFFERS),
    ("GRANT SELECT (price) ON shop.customers TO PUBLIC", "grants", "column shop.customers.price", DATABASE),
    ("GRANT CREATE ON SCHEMA shop TO PUBLIC", "grants", "schema shop", DIFFERS),
    ("GRANT EXECUTE ON FUNCTION shop.f(text) TO PUBLIC", "grants", "function shop.f(a text)", DATABASE),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA shop REVOKE SELECT ON TABLES FROM PUBLIC", "default privileges", "tables of the migrating user in schema shop", FILES),
    ("COMMENT ON TABLE shop.lines IS 'new'", "comment", "table shop.lines", DATABASE),
    ("COMMENT ON TABLE shop.customers IS NULL", "comment", "table shop.customers", FILES),
    ("COMMENT ON COLUMN shop.customers.price IS 'In cents'", "comment", "table column shop.customers.price", DIFFERS),
    ("DROP STATISTICS shop.st", "statistics", "shop.st", FILES),
    ("DROP COLLATION shop.plain", "collation", "shop.plain", FILES),
    ("DROP OPERATOR shop.=== (int, int)", "operator", "shop.=== (integer, integer)", FILES),
    ("ALTER TEXT SEARCH CONFIGURATION shop.tsc DROP MAPPING FOR asciiword", "text search configuration", "shop.tsc", DIFFERS),
    ("ALTER PUBLICATION pub DROP TABLE shop.lines", "publication", "pub", DIFFERS),
    ("ALTER TABLE shop.lines ALTER n SET STATISTICS 500", "column", "shop.lines.n", DIFFERS),
    ("ALTER TABLE shop.customers ALTER id SET (n_distinct = 5)", "column", "shop.customers.id", DIFFERS),
    ("ALTER TABLE shop.customers CLUSTER ON customers_pkey", "constraint", "customers_pkey on shop.customers", DIFFERS),
    ("ALTER INDEX shop.customers_pkey SET (fillfactor = 50)", "constraint", "customers_pkey on shop.customers", DIFFERS),
    ("ALTER TABLE shop.mv CLUSTER ON mv_customer", "index", "shop.mv_customer", DIFFERS),
    ("ALTER TABLE shop.customers SET (toast.autovacuum_enabled = false)", "table", "shop.customers", DIFFERS),
    ("ALTER TABLE shop.customers ENABLE ALWAYS TRIGGER t2", "trigger", "t2 on shop.customers", DIFFERS),
    ("ALTER TABLE shop.cache ENABLE ALWAYS RULE r1", "rule", "r1 on shop.cache", DIFFERS),
    ("ALTER VIEW shop.v1 ALTER COLUMN kind SET DEFAULT 'z'", "view", "shop.v1", DIFFERS),
    ("ALTER MATERIALIZED VIEW shop.mv ALTER count SET STATISTICS 7", "materialised view", "shop.mv", DIFFERS),
    ("ALTER FUNCTION shop.f(int, text) PARALLEL SAFE", "function", "shop.f(a integer, b text)", DIFFERS),
    ("ALTER FUNCTION shop.f(int, text) COST 7", "function", "shop.f(a integer, b text)", DIFFERS),
    ("ALTER FUNCTION shop.f(int, text) LEAKPROOF", "function", "shop.f(a integer, b text)", DIFFERS),
    ("ALTER FUNCTION shop.f(int, text) SET work_mem = '1MB'", "function", "shop.f(a integer, b text)", DIFFERS),
    ("DROP AGGREGATE shop.total(int); CREATE AGGREGATE shop.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', SSPACE = 77)", "aggregate", "shop.total(integer)", DIFFERS),
    ("DROP AGGREGATE shop.total(int); CREATE AGGREGATE shop.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', SORTOP = <)", "aggregate", "shop.total(integer)", DIFFERS),
    ("ALTER OPERATOR shop.=== (int, int) SET (RESTRICT = eqsel)", "operator", "shop.=== (integer, integer)", DIFFERS),
    ("ALTER OPERATOR shop.=== (int, int) OWNER TO pg_monitor", "operator", "shop.=== (integer, integer)", DIFFERS),
    ("CREATE OPERATOR FAMILY shop.spare USING btree", "operator family", "shop.spare using btree", DATABASE),
    ("CREATE CAST (shop.pair AS text) WITH INOUT", "cast", "shop.pair as text", DATABASE),
    ("CREATE CONVERSION shop.spare FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", "conversion", "shop.spare", DATABASE),
    ("CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION prsd_lextype(internal))", "transform", "integer for plpgsql", DATABASE),
    ("CREATE ACCESS METHOD spare TYPE INDEX HANDLER bthandler", "access method", "spare", DATABASE),
    ("CREATE TEXT SEARCH DICTIONARY shop.spare (TEMPLATE = simple)", "text search dictionary", "shop.spare", DATABASE),
    ("CREATE TEXT SEARCH TEMPLATE shop.spare (LEXIZE = dsimple_lexize)", "text search template", "shop.spare", DATABASE),
    ("CREATE TEXT SEARCH PARSER shop.spare (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)", "text search parser", "shop.spare", DATABASE),
    ("ALTER COLLATION shop.plain OWNER TO pg_monitor", "collation", "shop.plain", DIFFERS),
    ('ALTER TYPE shop.pair ALTER ATTRIBUTE b SET DATA TYPE text COLLATE "POSIX"', "composite type", "shop.pair", DIFFERS),
    ("ALTER DOMAIN shop.email ADD CONSTRAINT long CHECK (length(VALUE) < 9) NOT VALID", "domain", "shop.email", DIFFERS),
    ("ALTER SEQUENCE shop.seq CACHE 3", "sequence", "shop.seq", DIFFERS),
    ("ALTER SEQUENCE shop.seq NO CYCLE", "sequence", "shop.seq", DIFFERS),
    ("ALTER PUBLICATION pub SET (publish = 'insert, update, delete')", "publication", "pub", DIFFERS),
    ("ALTER PUBLICATION pub OWNER TO pg_monitor", "publication", "pub", DIFFERS),
    ("ALTER STATISTICS shop.st OWNER TO pg_monitor", "statistics", "shop.st", DIFFERS),
    ("GRANT USAGE ON LANGUAGE plpgsql TO pg_monitor", "grants", "language plpgsql", DIFFERS),
    ("REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC", "grants", "language plpgsql", FILES),
    ("CREATE CONSTRAINT TRIGGER spare AFTER INSERT ON shop.lines DEFERRABLE FOR EACH ROW EXECUTE FUNCTION shop.trg()", "trigger", "spare on shop.lines", DATABASE),
    ("INSERT INTO pg_seclabel VALUES ('shop.lines'::regclass, 'pg_class'::regclass, 0, 'x', 'y')", "security label", "table shop.lines by x", DATABASE),
    ("COMMENT ON POLICY own ON shop.customers IS 'x'", "comment", "policy own on shop.customers", DATABASE),
    ("COMMENT ON SCHEMA public IS 'x'", "comment", "schema public", DIFFERS),
)  # fmt: skip

# What takes other objects along: all that is found.
WIDE_DRIFTS = (
    (
        "DROP TABLE shop.lines",
        {("table", "shop.lines", FILES), ("publication", "pub", DIFFERS)},
    ),
    (
        "DROP INDEX shop.lower_note",
        {("index", f"shop.{name}", FILES) for name in ("lower_note", "orders_2024_lower_idx", "orders_rest_lower_idx")},
    ),
    (
        "ALTER TABLE shop.orders DETACH PARTITION shop.orders_rest",
        {
            ("table", "shop.orders_rest", DIFFERS),
            ("constraint", "orders_rest_pkey on shop.orders_rest", DATABASE),
            ("constraint", "orders_customer_fkey on shop.orders_rest", DATABASE),
            ("index", "shop.orders_rest_customer_idx", DIFFERS),
            ("index", "shop.orders_rest_lower_idx", DIFFERS),
        },
    ),
    (
        "ALTER TYPE shop.mood RENAME VALUE 'ok' TO 'good'",
        {("enum", "shop.mood", DIFFERS), ("column", "shop.customers.mood", DIFFERS)},
    ),
    (
        ("CREATE FUNCTION shop.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; "
        "CREATE EVENT TRIGGER spare ON ddl_command_end EXECUTE FUNCTION shop.watch()"),
        {("function", "shop.watch()", DATABASE), ("event trigger", "spare", DATABASE)},
    ),
    (
        ("CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; GRANT USAGE ON FOREIGN SERVER files TO PUBLIC; "
        "CREATE USER MAPPING FOR PUBLIC SERVER files; CREATE FOREIGN TABLE shop.far (i int) SERVER files OPTIONS (filename '/dev/null')"),
        {("extension", "file_fdw", DATABASE), ("server", "files", DATABASE), ("table", "shop.far", DATABASE), ("grants", "server files", DATABASE)},
    ),
    (
        "ALTER TABLE shop.lines RENAME n TO m",
        {("column", "shop.lines.n", FILES), ("column", "shop.lines.m", DATABASE)},
    ),
    (
        "ALTER TABLE shop.cache DISABLE TRIGGER ALL; ALTER TABLE shop.lines DISABLE TRIGGER ALL",
        {("constraint", "lines_order_id_at_fkey on shop.lines", DIFFERS)},
    ),
    (
        ("ALTER TABLE shop.lines DROP COLUMN order_id, ADD COLUMN order_id bigint, "
        "ADD FOREIGN KEY (order_id, at) REFERENCES shop.orders ON DELETE CASCADE"),
        {("column order", "shop.lines", DIFFERS)},
    ),
)

# The same for what came with a version of PostgreSQL: the first that has it.
NEWER_DRIFTS = (
    (130000, "ALTER TABLE shop.customers ALTER tax DROP EXPRESSION", "column", "shop.customers.tax", DIFFERS),
    (130000, "ALTER TABLE shop.orders_2024 DISABLE TRIGGER t1", "trigger", "t1 on shop.orders_2024", DATABASE),
    (130000, "ALTER STATISTICS shop.st SET STATISTICS 7", "statistics", "shop.st", DIFFERS),
    (130000, "ALTER PUBLICATION pub SET (publish_via_partition_root = true)", "publication", "pub", DIFFERS),
    (140000, "ALTER TABLE shop.customers ALTER raw SET COMPRESSION pglz", "column", "shop.customers.raw", DIFFERS),
    (140000, "DROP TYPE shop.span; CREATE TYPE shop.span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = shop.spans)", "range", "shop.span", DIFFERS),
    (150000, "ALTER PUBLICATION pub SET TABLE shop.lines (n)", "publication", "pub", DIFFERS),
    (150000, "ALTER PUBLICATION pub SET TABLE shop.lines WHERE (n > 3)", "publication", "pub", DIFFERS),
    (150000, "ALTER PUBLICATION pub ADD TABLES IN SCHEMA shop", "publication", "pub", DIFFERS),
    (150000, "ALTER SEQUENCE shop.seq SET UNLOGGED", "sequence", "shop.seq", DIFFERS),
    (180000, "ALTER TABLE shop.cache ALTER CONSTRAINT cache_k_not_null NO INHERIT", "column", "shop.cache.k", DIFFERS),
    (180000, "ALTER TABLE shop.special ADD CONSTRAINT spare NOT NULL extra NOT VALID", "column", "shop.special.extra", DIFFERS),
)  # fmt: skip
