"""The queries of the catalog: each yields kind, identity, parent and definition of the objects of a database. Pure.

Each function or constant with a SELECT is about one kind of object. They are joined into few queries that share common
table expressions, so that a catalog costs three messages whatever its size.
Object numbers (OIDs) never appear: they differ between two databases that are the same.
"""

from __future__ import annotations

from migrator.drift.catalog_expressions import (
    UNION,
    CatalogScope,
    collation,
    grants,
    is_history_table,
    is_member,
    qualified,
)

_PUBLIC_IS_THE_OWNERS_SINCE = 150000


def relations_sql(scope: CatalogScope) -> str:
    """Return the query for tables, views and sequences, and for what belongs to them."""
    parts = (
        _tables(scope), _COLUMN_ORDERS, _columns(scope), _CONSTRAINTS, _INDEXES, _views(scope), _triggers(scope),
        _RULES, _POLICIES, _sequences(scope), _RELATION_GRANTS, _COLUMN_GRANTS, _statistics(scope),
    )  # fmt: skip
    return f"""{_schemas_and_relations(scope)}, col AS MATERIALIZED (
    SELECT a.*, r.id AS table_id, r.relkind AS table_kind, r.relowner, quote_ident(a.attname) AS col_id
    FROM pg_attribute a JOIN rel r ON r.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind <> 'S'
)
{UNION.join(parts)}"""


def code_sql(scope: CatalogScope) -> str:
    """Return the query for schemas, extensions, functions and types."""
    parts = (
        _schemas(scope), _schema_grants(scope), _EXTENSIONS, _functions(scope), _FUNCTION_GRANTS, _types(scope),
        _TYPE_GRANTS,
    )  # fmt: skip
    return f"""{_schemas_and_relations(scope)}, fun AS MATERIALIZED (
    SELECT p.*, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS id,
        CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind
    FROM pg_proc p JOIN spaces n ON n.oid = p.pronamespace WHERE NOT {is_member("pg_proc", "p.oid")}
), typ AS MATERIALIZED (
    SELECT t.*, {qualified("n.nspname", "t.typname")} AS id,
        CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type'
            WHEN 'r' THEN 'range' ELSE 'base type' END AS kind
    FROM pg_type t JOIN spaces n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd', 'c', 'r', 'b') AND NOT {is_member("pg_type", "t.oid")}
        AND (t.typrelid = 0 OR (SELECT c.relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c')
        AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
)
{UNION.join(parts)}"""


def _schemas_and_relations(scope: CatalogScope) -> str:
    return f"""
WITH spaces AS MATERIALIZED (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_namespace n WHERE {scope.schemas()}
), rel AS MATERIALIZED (
    SELECT c.*, {qualified("n.nspname", "c.relname")} AS id,
        CASE WHEN c.relkind IN ('r', 'p', 'f') THEN 'table' WHEN c.relkind = 'S' THEN 'sequence'
            WHEN c.relkind = 'v' THEN 'view' WHEN c.relkind = 'm' THEN 'materialised view' END AS kind
    FROM pg_class c JOIN spaces n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND NOT {is_history_table("c")}
        AND NOT {is_member("pg_class", "c.oid")}
        AND NOT (c.relkind = 'S' AND EXISTS (
            SELECT FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
                AND d.deptype IN ('a', 'i') AND {is_history_table("t")}))
)"""


def _tables(scope: CatalogScope) -> str:
    return f"""SELECT 'table', r.id, NULL, concat_ws(E'\\n',
        CASE r.relkind WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(r.oid) WHEN 'f' THEN 'foreign table' END,
        CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
        (SELECT string_agg(CASE WHEN r.relispartition THEN 'partition of ' ELSE 'inherits ' END || p.id, ', '
            ORDER BY i.inhseqno) FROM pg_inherits i JOIN rel p ON p.oid = i.inhparent WHERE i.inhrelid = r.oid),
        pg_get_expr(r.relpartbound, r.oid),
        'of type ' || format_type(nullif(r.reloftype, 0), NULL),
        'options: ' || array_to_string(r.reloptions, ', '),
        (SELECT 'options of TOAST: ' || array_to_string(o.reloptions, ', ') FROM pg_class o
            WHERE o.oid = r.reltoastrelid),
        (SELECT 'access method ' || m.amname FROM pg_am m WHERE m.oid = r.relam AND m.amname <> 'heap'),
        CASE WHEN r.relrowsecurity THEN 'row level security enabled' END,
        CASE WHEN r.relforcerowsecurity THEN 'row level security forced' END,
        CASE r.relreplident WHEN 'f' THEN 'replica identity full' WHEN 'n' THEN 'replica identity nothing' END,
        (SELECT 'server ' || quote_ident(s.srvname) || coalesce(' options ' || array_to_string(f.ftoptions, ', '), '')
            FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = r.oid),
        {scope.owner("r.relowner")}) FROM rel r WHERE r.kind = 'table'"""


_COLUMN_ORDERS = """SELECT 'column order', r.id, r.id, string_agg(c.col_id, ', ' ORDER BY c.attnum)
    FROM rel r JOIN col c ON c.attrelid = r.oid WHERE r.kind = 'table' GROUP BY r.id"""


def _columns(scope: CatalogScope) -> str:
    return f"""SELECT 'column', c.table_id || '.' || c.col_id, c.table_id, concat_ws(E'\\n',
        format_type(c.atttypid, c.atttypmod),
        (SELECT 'collation ' || {collation("c.attcollation")} FROM pg_type t
            WHERE t.oid = c.atttypid AND c.attcollation <> t.typcollation),
        CASE WHEN c.attnotnull THEN 'not null' ELSE 'nullable' END,
        (SELECT concat_ws(', ', CASE WHEN k.connoinherit THEN 'not inherited' END,
            CASE WHEN NOT k.convalidated THEN 'not validated' END) FROM pg_constraint k
            WHERE k.conrelid = c.attrelid AND k.contype = 'n' AND k.conkey[1] = c.attnum
            AND (k.connoinherit OR NOT k.convalidated)),
        (SELECT CASE WHEN c.attgenerated = '' THEN 'default ' || pg_get_expr(d.adbin, d.adrelid)
            ELSE 'generated always as (' || pg_get_expr(d.adbin, d.adrelid) || ')' ||
            CASE c.attgenerated WHEN 'v' THEN ' VIRTUAL' ELSE ' STORED' END END
            FROM pg_attrdef d WHERE d.adrelid = c.attrelid AND d.adnum = c.attnum),
        CASE c.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END,
        (SELECT 'storage ' || c.attstorage::text FROM pg_type t
            WHERE t.oid = c.atttypid AND t.typstorage <> c.attstorage),
        {scope.since(14, "'compression ' || nullif(c.attcompression::text, '')")},
        'statistics target ' || nullif(c.attstattarget, -1),
        'options: ' || array_to_string(c.attoptions, ', '),
        'foreign options: ' || array_to_string(c.attfdwoptions, ', '))
    FROM col c WHERE c.table_kind IN ('r', 'p', 'f')"""


_CONSTRAINTS = """SELECT 'constraint', quote_ident(k.conname) || ' on ' || r.id, r.id, concat_ws(E'\\n',
        pg_get_constraintdef(k.oid),
        (SELECT 'not enforced: its triggers are disabled' FROM pg_trigger t
            WHERE t.tgconstraint = k.oid AND t.tgenabled = 'D' AND k.contype = 'f' LIMIT 1),
        CASE WHEN i.indisreplident THEN 'replica identity' END,
        CASE WHEN i.indisclustered THEN 'clustered by' END,
        (SELECT 'options: ' || array_to_string(o.reloptions, ', ') FROM pg_class o WHERE o.oid = i.indexrelid),
        CASE WHEN NOT i.indisvalid THEN 'INVALID index' END)
    FROM pg_constraint k JOIN rel r ON r.oid = k.conrelid
    LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
    WHERE k.contype NOT IN ('n', 't') AND k.conparentid = 0"""


_INDEXES = f"""SELECT 'index', {qualified("n.nspname", "x.relname")}, r.id, concat_ws(E'\\n',
        pg_get_indexdef(i.indexrelid),
        CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
        CASE WHEN i.indisreplident THEN 'replica identity' END,
        CASE WHEN i.indisclustered THEN 'clustered by' END,
        (SELECT string_agg(format('statistics target of column %s %s', a.attnum, a.attstattarget), E'\\n'
            ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0),
        (SELECT 'partition of ' || p.relname FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent
            WHERE h.inhrelid = i.indexrelid))
    FROM pg_index i JOIN rel r ON r.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = x.relnamespace
    WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))"""


def _views(scope: CatalogScope) -> str:
    return f"""SELECT r.kind, r.id, NULL, concat_ws(E'\\n',
        'options: ' || array_to_string(r.reloptions, ', '),
        pg_get_viewdef(r.oid),
        (SELECT string_agg(line, E'\\n' ORDER BY c.attnum) FROM col c CROSS JOIN LATERAL (SELECT concat_ws(' ',
            'default ' || (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
                WHERE d.adrelid = c.attrelid AND d.adnum = c.attnum),
            'statistics target ' || nullif(c.attstattarget, -1),
            'options: ' || array_to_string(c.attoptions, ', ')) AS what) w
            CROSS JOIN LATERAL (SELECT format('column %s: %s', c.col_id, w.what) AS line) l
            WHERE c.attrelid = r.oid AND w.what <> ''),
        {scope.owner("r.relowner")}) FROM rel r WHERE r.relkind IN ('v', 'm')"""


def _triggers(scope: CatalogScope) -> str:
    cloned = scope.since(13, "t.tgparentid <> 0 AND t.tgconstraint = 0")
    parent = "(SELECT p.tgenabled FROM pg_trigger p WHERE p.oid = t.tgparentid)"
    of_interest = scope.since(13, f"t.tgparentid = 0 OR t.tgenabled <> {parent}")
    return f"""SELECT 'trigger', quote_ident(t.tgname) || ' on ' || r.id, r.id, concat_ws(E'\\n',
        pg_get_triggerdef(t.oid),
        CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica only' WHEN 'A' THEN 'always' END)
    FROM pg_trigger t JOIN rel r ON r.oid = t.tgrelid
    WHERE (NOT t.tgisinternal OR coalesce({cloned}, false)) AND coalesce({of_interest}, true)"""


_RULES = """SELECT 'rule', quote_ident(w.rulename) || ' on ' || r.id, r.id, concat_ws(E'\\n',
        pg_get_ruledef(w.oid),
        CASE w.ev_enabled WHEN 'O' THEN NULL ELSE 'enabled: ' || w.ev_enabled::text END)
    FROM pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'"""


_POLICIES = """SELECT 'policy', quote_ident(p.polname) || ' on ' || r.id, r.id, concat_ws(E'\\n',
        CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
        'for ' || CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update'
            WHEN 'd' THEN 'delete' ELSE 'all' END,
        'to ' || (SELECT string_agg(CASE u WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(u)) END, ', '
            ORDER BY pg_get_userbyid(u)) FROM unnest(p.polroles) u),
        'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
        'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    FROM pg_policy p JOIN rel r ON r.oid = p.polrelid"""


def _sequences(scope: CatalogScope) -> str:
    return f"""SELECT 'sequence', r.id, o.table_id, concat_ws(E'\\n',
        format_type(s.seqtypid, NULL),
        format('start %s increment %s min %s max %s cache %s', seqstart, seqincrement, seqmin, seqmax, seqcache),
        CASE WHEN s.seqcycle THEN 'cycle' END,
        CASE r.relpersistence WHEN 'u' THEN 'unlogged' END,
        CASE o.deptype WHEN 'i' THEN 'identity of ' ELSE 'owned by ' END || o.table_id || '.' || o.col_id,
        {scope.owner("r.relowner")})
    FROM pg_sequence s JOIN rel r ON r.oid = s.seqrelid LEFT JOIN LATERAL (
        SELECT c.table_id, c.col_id, d.deptype FROM pg_depend d
        JOIN col c ON c.attrelid = d.refobjid AND c.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
            AND d.deptype IN ('a', 'i') LIMIT 1) o ON true"""


_RELATION_GRANTS = f"""SELECT 'grants', r.kind || ' ' || r.id, r.id, a.lines FROM rel r CROSS JOIN LATERAL (SELECT
    CASE r.relkind WHEN 'S' THEN {grants("r.relacl", "r.relowner", "s")} ELSE {grants("r.relacl", "r.relowner", "r")}
    END AS lines) a WHERE r.relacl IS NOT NULL AND a.lines IS NOT NULL"""


_COLUMN_GRANTS = f"""SELECT 'grants', 'column ' || c.table_id || '.' || c.col_id, c.table_id, a.lines
    FROM col c CROSS JOIN LATERAL (SELECT {grants("c.attacl", "c.relowner", "")} AS lines) a
    WHERE c.attacl IS NOT NULL AND a.lines IS NOT NULL"""


def _statistics(scope: CatalogScope) -> str:
    return f"""SELECT 'statistics', {qualified("n.nspname", "s.stxname")}, r.id, concat_ws(E'\\n',
        pg_get_statisticsobjdef(s.oid),
        {scope.since(13, "'statistics target ' || nullif(s.stxstattarget, -1)")},
        {scope.owner("s.stxowner")})
    FROM pg_statistic_ext s JOIN rel r ON r.oid = s.stxrelid JOIN pg_namespace n ON n.oid = s.stxnamespace"""


def _schemas(scope: CatalogScope) -> str:
    return f"""SELECT 'schema', quote_ident(n.nspname), NULL, {scope.schema_owner()} FROM spaces n
    WHERE NOT {is_member("pg_namespace", "n.oid")}"""


def _schema_grants(scope: CatalogScope) -> str:
    owners = scope.has_public("x.grantee") if scope.owners else "false"
    # Before, public is the superuser's in a scratch database: what a file grants on it is without effect there.
    superuser = "(SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = SESSION_USER)"
    old = scope.server_version < _PUBLIC_IS_THE_OWNERS_SINCE
    compared = f"(n.nspname <> 'public' OR {superuser})" if old else "true"
    return f"""SELECT 'grants', 'schema ' || quote_ident(n.nspname), quote_ident(n.nspname), a.lines FROM spaces n
    CROSS JOIN LATERAL (SELECT {grants("n.nspacl", "n.nspowner", "n", owners)} AS lines) a
    WHERE NOT {is_member("pg_namespace", "n.oid")} AND a.lines IS NOT NULL AND {compared}"""


_EXTENSIONS = """SELECT 'extension', quote_ident(e.extname), NULL, concat_ws(E'\\n',
        'version ' || e.extversion,
        'schema ' || quote_ident(n.nspname)) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"""


def _functions(scope: CatalogScope) -> str:
    return f"""SELECT f.kind, f.id, NULL, concat_ws(E'\\n',
        CASE WHEN f.prokind <> 'a' THEN pg_get_functiondef(f.oid) END,
        (SELECT format('step %s state %s final %s initial %s combine %s parallel %s kind %s', g.aggtransfn,
            format_type(g.aggtranstype, NULL), g.aggfinalfn, g.agginitval, g.aggcombinefn, f.proparallel, g.aggkind)
            || format(E'\\nspace %s direct %s extra %s modify %s sort %s serial %s %s', g.aggtransspace,
            g.aggnumdirectargs, g.aggfinalextra, g.aggfinalmodify, g.aggsortop::regoperator, g.aggserialfn,
            g.aggdeserialfn) || format(E'\\nmoving step %s back %s state %s space %s final %s %s %s initial %s',
            g.aggmtransfn, g.aggminvtransfn, format_type(nullif(g.aggmtranstype, 0), NULL), g.aggmtransspace,
            g.aggmfinalfn, g.aggmfinalextra, g.aggmfinalmodify, g.aggminitval)
            FROM pg_aggregate g WHERE g.aggfnoid = f.oid),
        {scope.owner("f.proowner")}) FROM fun f"""


_FUNCTION_GRANTS = f"""SELECT 'grants', f.kind || ' ' || f.id, f.id, a.lines FROM fun f
    CROSS JOIN LATERAL (SELECT {grants("f.proacl", "f.proowner", "f")} AS lines) a WHERE a.lines IS NOT NULL"""


def _types(scope: CatalogScope) -> str:
    return f"""SELECT t.kind, t.id, NULL, concat_ws(E'\\n',
        (SELECT string_agg(quote_literal(e.enumlabel), E'\\n' ORDER BY e.enumsortorder)
            FROM pg_enum e WHERE e.enumtypid = t.oid),
        CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
        CASE WHEN t.typtype = 'd' AND t.typnotnull THEN 'not null' END,
        CASE t.typtype WHEN 'd' THEN 'default ' || t.typdefault END,
        CASE t.typtype WHEN 'd' THEN (SELECT 'collation ' || quote_ident(l.collname)
            FROM pg_collation l, pg_type b
            WHERE l.oid = t.typcollation AND b.oid = t.typbasetype AND b.typcollation <> t.typcollation) END,
        (SELECT string_agg(quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), E'\\n' ORDER BY k.conname)
            FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'),
        (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod) || coalesce(
            (SELECT ' collation ' || {collation("a.attcollation")} FROM pg_type b
            WHERE b.oid = a.atttypid AND b.typcollation <> a.attcollation), ''), E'\\n'
            ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
            AND NOT a.attisdropped),
        (SELECT format('of %s operator class %s canonical %s difference %s', format_type(g.rngsubtype, NULL),
            o.opcname, g.rngcanonical, g.rngsubdiff) || coalesce(
            {scope.since(14, "' multirange ' || format_type(g.rngmultitypid, NULL)")}, '')
            FROM pg_range g JOIN pg_opclass o ON o.oid = g.rngsubopc
            WHERE g.rngtypid = t.oid),
        CASE WHEN t.typtype = 'b' THEN format('input %s output %s length %s alignment %s storage %s', t.typinput,
            t.typoutput, t.typlen, t.typalign, t.typstorage) END,
        {scope.owner("t.typowner")}) FROM typ t"""


_TYPE_GRANTS = f"""SELECT 'grants', t.kind || ' ' || t.id, t.id, a.lines FROM typ t
    CROSS JOIN LATERAL (SELECT {grants("t.typacl", "t.typowner", "T")} AS lines) a WHERE a.lines IS NOT NULL"""
