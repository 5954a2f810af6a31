"""The query of the catalog for what is rare: default privileges, comments, operators, servers and the like. Pure."""

from __future__ import annotations

from migrator.drift.catalog_expressions import UNION, CatalogScope, grants, is_member


def rare_objects_sql(scope: CatalogScope) -> str:
    """Return the query for all objects that catalog_queries has nothing for."""
    parts = (
        _comments(scope), _default_privileges(scope), _collations(scope), _operators(scope), _operator_classes(scope),
        _operator_families(scope), _ACCESS_METHODS, _conversions(scope), _TRANSFORMS, _TEXT_SEARCH_PARSERS,
        _TEXT_SEARCH_TEMPLATES, _CASTS, _text_search_configurations(scope), _text_search_dictionaries(scope),
        _foreign_data_wrappers(scope), _servers(scope), _user_mappings(scope), _GRANTS, _SECURITY_LABELS,
        _event_triggers(scope), _publications(scope), _languages(scope),
    )  # fmt: skip
    return f"""
WITH spaces AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_namespace n WHERE {scope.schemas()}
), commented AS (
    SELECT o.type || ' ' || o.identity AS id, d.description,
        CASE WHEN d.classoid = 'pg_class'::regclass THEN (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = d.objoid) END AS parent
    FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) o
    WHERE (d.objoid >= 16384 OR d.objoid = 'public'::regnamespace) AND d.classoid <> 'pg_extension'::regclass
        AND NOT EXISTS (SELECT FROM pg_depend m
            WHERE m.classid = d.classoid AND m.objid = d.objoid AND m.deptype = 'e')
), defaults AS (
    SELECT d.defaclrole, d.defaclobjtype, d.defaclnamespace, {grants("d.defaclacl", "d.defaclrole", "")} AS lines,
        CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
            WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE d.defaclobjtype::text END AS what
    FROM pg_default_acl d
)
{UNION.join(parts)}"""


def _comments(scope: CatalogScope) -> str:
    return f"""SELECT 'comment', c.id, c.parent, c.description FROM commented c
    WHERE c.id !~ {scope.hidden_identity}"""


def _default_privileges(scope: CatalogScope) -> str:
    return f"""SELECT 'default privileges', concat_ws(' ', d.what, 'of', {scope.role("d.defaclrole")},
        'in schema ' || quote_ident(n.nspname)), quote_ident(n.nspname), coalesce(d.lines, 'nobody')
    FROM defaults d LEFT JOIN spaces n ON n.oid = d.defaclnamespace
    WHERE (n.oid IS NOT NULL AND d.lines IS NOT NULL) OR (d.defaclnamespace = 0 AND d.lines IS DISTINCT FROM
        CASE d.defaclobjtype WHEN 'f' THEN 'PUBLIC: EXECUTE' WHEN 'T' THEN 'PUBLIC: USAGE' END)"""


def _collations(scope: CatalogScope) -> str:
    return f"""SELECT 'collation', format('%I.%I', n.nspname, c.collname), NULL,
        concat_ws(E'\\n', 'provider ' || c.collprovider::text, c.collcollate, c.collctype,
            CASE WHEN NOT c.collisdeterministic THEN 'not deterministic' END, {scope.owner("c.collowner")})
    FROM pg_collation c JOIN spaces n ON n.oid = c.collnamespace WHERE NOT {is_member("pg_collation", "c.oid")}"""


def _operators(scope: CatalogScope) -> str:
    return f"""SELECT 'operator', format('%I.%s (%s, %s)', n.nspname, o.oprname,
        format_type(nullif(o.oprleft, 0), NULL), format_type(nullif(o.oprright, 0), NULL)), NULL, concat_ws(E'\\n',
        format('procedure %s restrict %s join %s hashes %s merges %s', o.oprcode, o.oprrest, o.oprjoin, o.oprcanhash,
            o.oprcanmerge),
        'commutator ' || nullif(o.oprcom, 0)::regoperator, 'negator ' || nullif(o.oprnegate, 0)::regoperator,
        {scope.owner("o.oprowner")})
    FROM pg_operator o JOIN spaces n ON n.oid = o.oprnamespace WHERE NOT {is_member("pg_operator", "o.oid")}"""


def _operator_classes(scope: CatalogScope) -> str:
    return f"""SELECT 'operator class', format('%I.%I using %s', n.nspname, o.opcname, a.amname), NULL,
        concat_ws(E'\\n', format_type(o.opcintype, NULL) || CASE WHEN o.opcdefault THEN ' default' ELSE '' END,
            'stored as ' || format_type(nullif(o.opckeytype, 0), NULL),
            (SELECT 'family ' || quote_ident(f.opfname) FROM pg_opfamily f
                WHERE f.oid = o.opcfamily), {scope.owner("o.opcowner")})
    FROM pg_opclass o JOIN spaces n ON n.oid = o.opcnamespace JOIN pg_am a ON a.oid = o.opcmethod
    WHERE NOT {is_member("pg_opclass", "o.oid")}"""


def _operator_families(scope: CatalogScope) -> str:
    return f"""SELECT 'operator family', format('%I.%I using %s', n.nspname, f.opfname, a.amname), NULL,
        concat_ws(E'\\n',
        (SELECT string_agg(format('operator %s %s %s', m.amopstrategy, m.amopopr::regoperator, m.amoppurpose), E'\\n'
            ORDER BY m.amopstrategy, m.amopopr::regoperator::text) FROM pg_amop m WHERE m.amopfamily = f.oid),
        (SELECT string_agg(format('function %s (%s, %s) %s', m.amprocnum, format_type(m.amproclefttype, NULL),
            format_type(m.amprocrighttype, NULL), m.amproc::oid::regprocedure), E'\\n'
            ORDER BY m.amprocnum, m.amproc::oid::regprocedure::text, format_type(m.amproclefttype, NULL),
            format_type(m.amprocrighttype, NULL)) FROM pg_amproc m WHERE m.amprocfamily = f.oid),
        {scope.owner("f.opfowner")})
    FROM pg_opfamily f JOIN spaces n ON n.oid = f.opfnamespace JOIN pg_am a ON a.oid = f.opfmethod
    WHERE NOT {is_member("pg_opfamily", "f.oid")}"""


_ACCESS_METHODS = f"""SELECT 'access method', quote_ident(a.amname), NULL,
        format('type %s handler %s', a.amtype, a.amhandler)
    FROM pg_am a WHERE a.oid >= 16384 AND NOT {is_member("pg_am", "a.oid")}"""


def _conversions(scope: CatalogScope) -> str:
    return f"""SELECT 'conversion', format('%I.%I', n.nspname, c.conname), NULL, concat_ws(E'\\n',
        format('from %s to %s by %s', pg_encoding_to_char(c.conforencoding), pg_encoding_to_char(c.contoencoding),
            c.conproc), CASE WHEN c.condefault THEN 'default' END, {scope.owner("c.conowner")})
    FROM pg_conversion c JOIN spaces n ON n.oid = c.connamespace WHERE NOT {is_member("pg_conversion", "c.oid")}"""


_TRANSFORMS = f"""SELECT 'transform', format('%s for %s', format_type(f.trftype, NULL), quote_ident(l.lanname)), NULL,
        format('from %s to %s', f.trffromsql, f.trftosql)
    FROM pg_transform f JOIN pg_language l ON l.oid = f.trflang WHERE NOT {is_member("pg_transform", "f.oid")}"""


_TEXT_SEARCH_PARSERS = f"""SELECT 'text search parser', format('%I.%I', n.nspname, p.prsname), NULL, format(
        'start %s token %s end %s headline %s types %s', p.prsstart, p.prstoken, p.prsend, p.prsheadline, p.prslextype)
    FROM pg_ts_parser p JOIN spaces n ON n.oid = p.prsnamespace WHERE NOT {is_member("pg_ts_parser", "p.oid")}"""


_TEXT_SEARCH_TEMPLATES = f"""SELECT 'text search template', format('%I.%I', n.nspname, p.tmplname), NULL,
        format('init %s lexize %s', p.tmplinit, p.tmpllexize)
    FROM pg_ts_template p JOIN spaces n ON n.oid = p.tmplnamespace WHERE NOT {is_member("pg_ts_template", "p.oid")}"""


_CASTS = f"""SELECT 'cast', format('%s as %s', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)), NULL,
        concat_ws(' ', c.castmethod, c.castcontext, nullif(c.castfunc, 0)::regprocedure)
    FROM pg_cast c WHERE c.oid >= 16384 AND NOT {is_member("pg_cast", "c.oid")}"""


def _text_search_configurations(scope: CatalogScope) -> str:
    return f"""SELECT 'text search configuration', format('%I.%I', n.nspname, c.cfgname), NULL,
        concat_ws(E'\\n', (SELECT 'parser ' || quote_ident(p.prsname) FROM pg_ts_parser p WHERE p.oid = c.cfgparser),
        (SELECT string_agg(format('%s %s', m.maptokentype, m.mapdict::regdictionary), E'\\n'
            ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = c.oid),
        {scope.owner("c.cfgowner")})
    FROM pg_ts_config c JOIN spaces n ON n.oid = c.cfgnamespace WHERE NOT {is_member("pg_ts_config", "c.oid")}"""


def _text_search_dictionaries(scope: CatalogScope) -> str:
    return f"""SELECT 'text search dictionary', format('%I.%I', n.nspname, d.dictname), NULL, concat_ws(E'\\n',
        (SELECT 'template ' || quote_ident(t.tmplname) FROM pg_ts_template t WHERE t.oid = d.dicttemplate),
        d.dictinitoption, {scope.owner("d.dictowner")})
    FROM pg_ts_dict d JOIN spaces n ON n.oid = d.dictnamespace WHERE NOT {is_member("pg_ts_dict", "d.oid")}"""


def _foreign_data_wrappers(scope: CatalogScope) -> str:
    return f"""SELECT 'foreign-data wrapper', quote_ident(w.fdwname), NULL, concat_ws(E'\\n',
        'handler ' || nullif(w.fdwhandler, 0)::regproc, 'validator ' || nullif(w.fdwvalidator, 0)::regproc,
        array_to_string(w.fdwoptions, ', '), {scope.owner("w.fdwowner")})
    FROM pg_foreign_data_wrapper w WHERE NOT {is_member("pg_foreign_data_wrapper", "w.oid")}"""


def _servers(scope: CatalogScope) -> str:
    return f"""SELECT 'server', quote_ident(s.srvname), NULL,
        concat_ws(E'\\n', (SELECT 'wrapper ' || quote_ident(w.fdwname) FROM pg_foreign_data_wrapper w
            WHERE w.oid = s.srvfdw), s.srvtype, s.srvversion, array_to_string(s.srvoptions, E'\\n'),
            {scope.owner("s.srvowner")})
    FROM pg_foreign_server s WHERE NOT {is_member("pg_foreign_server", "s.oid")}"""


def _user_mappings(scope: CatalogScope) -> str:
    return f"""SELECT 'user mapping', CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE {scope.role("m.umuser")} END || ' on '
        || quote_ident(m.srvname), quote_ident(m.srvname), (SELECT string_agg(CASE WHEN o LIKE 'user=%' THEN o
            ELSE split_part(o, '=', 1) END, E'\\n' ORDER BY o) FROM unnest(m.umoptions) o)
    FROM pg_user_mappings m"""


_GRANTS = f"""SELECT 'grants', g.id, NULL, g.lines FROM (
    SELECT 'foreign-data wrapper ' || quote_ident(w.fdwname), {grants("w.fdwacl", "w.fdwowner", "F")}
        FROM pg_foreign_data_wrapper w WHERE NOT {is_member("pg_foreign_data_wrapper", "w.oid")}
    UNION ALL SELECT 'server ' || quote_ident(s.srvname), {grants("s.srvacl", "s.srvowner", "S")}
        FROM pg_foreign_server s WHERE NOT {is_member("pg_foreign_server", "s.oid")}
    UNION ALL SELECT 'language ' || quote_ident(l.lanname), {grants("l.lanacl", "l.lanowner", "l")}
        FROM pg_language l WHERE l.oid < 16384 OR NOT {is_member("pg_language", "l.oid")}
    ) g(id, lines) WHERE g.lines IS NOT NULL"""


_SECURITY_LABELS = """SELECT 'security label', o.type || ' ' || o.identity || ' by ' || quote_ident(s.provider), NULL,
        s.label
    FROM pg_seclabel s CROSS JOIN LATERAL pg_identify_object(s.classoid, s.objoid, s.objsubid) o
    WHERE s.objoid >= 16384"""


def _event_triggers(scope: CatalogScope) -> str:
    return f"""SELECT 'event trigger', quote_ident(e.evtname), NULL,
        concat_ws(E'\\n', format('on %s execute %s enabled %s tags %s', e.evtevent, e.evtfoid::regprocedure,
            e.evtenabled, e.evttags), {scope.owner("e.evtowner")})
    FROM pg_event_trigger e WHERE NOT {is_member("pg_event_trigger", "e.oid")}"""


def _publications(scope: CatalogScope) -> str:
    schemas = """(SELECT string_agg('schema ' || quote_ident(n.nspname), E'\\n' ORDER BY n.nspname)
            FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = p.oid)"""
    columns = """(SELECT ' (' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) || ')' FROM pg_attribute a
                WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs))"""
    return f"""SELECT 'publication', quote_ident(p.pubname), NULL, concat_ws(E'\\n',
        format('all tables %s insert %s update %s delete %s', p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete),
        'truncate ' || p.pubtruncate::text,
        {scope.since(13, "'via the root of partitions ' || p.pubviaroot::text")},
        {scope.since(18, "'generated columns ' || p.pubgencols::text")},
        {scope.since(15, schemas)},
        (SELECT string_agg(concat(format('%I.%I', n.nspname, c.relname), {scope.since(15, columns)},
            {scope.since(15, "' where ' || pg_get_expr(r.prqual, r.prrelid)")}), E'\\n' ORDER BY n.nspname, c.relname)
            FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE r.prpubid = p.oid),
        {scope.owner("p.pubowner")})
    FROM pg_publication p"""


def _languages(scope: CatalogScope) -> str:
    return f"""SELECT 'language', quote_ident(l.lanname), NULL,
        concat_ws(E'\\n', CASE WHEN l.lanpltrusted THEN 'trusted' END, {scope.owner("l.lanowner")})
    FROM pg_language l WHERE l.lanispl AND NOT {is_member("pg_language", "l.oid")}"""
