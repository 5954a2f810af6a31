"""The query of the catalogue for what is rare: default privileges, comments, operators, servers and the like. Pure."""

from __future__ import annotations

from migrator.catalogue_queries import HISTORY_TABLES, grants, member

_TOOLS = "|".join(HISTORY_TABLES)

OTHERS = f"""
WITH spaces AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_namespace n
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'db_setup'HIDDEN)
), told AS (
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
SELECT 'comment', t.id, t.parent, t.description FROM told t
    WHERE t.id !~ '[ .](db_setup|{_TOOLS}PATTERN)([. ]|$)'
UNION ALL SELECT 'default privileges', concat_ws(' ', d.what, 'of', ROLE(d.defaclrole),
        'in schema ' || quote_ident(n.nspname)), quote_ident(n.nspname), coalesce(d.lines, 'nobody')
    FROM defaults d LEFT JOIN spaces n ON n.oid = d.defaclnamespace
    WHERE (n.oid IS NOT NULL AND d.lines IS NOT NULL) OR (d.defaclnamespace = 0 AND d.lines IS DISTINCT FROM
        CASE d.defaclobjtype WHEN 'f' THEN 'PUBLIC: EXECUTE' WHEN 'T' THEN 'PUBLIC: USAGE' END)
UNION ALL SELECT 'collation', format('%I.%I', n.nspname, c.collname), NULL,
        concat_ws(E'\\n', 'provider ' || c.collprovider::text, c.collcollate, c.collctype,
            CASE WHEN NOT c.collisdeterministic THEN 'not deterministic' END)
    FROM pg_collation c JOIN spaces n ON n.oid = c.collnamespace WHERE NOT {member("pg_collation", "c.oid")}
UNION ALL SELECT 'operator', format('%I.%s (%s, %s)', n.nspname, o.oprname, format_type(nullif(o.oprleft, 0), NULL),
        format_type(nullif(o.oprright, 0), NULL)), NULL, format('procedure %s restrict %s join %s hashes %s merges %s',
        o.oprcode, o.oprrest, o.oprjoin, o.oprcanhash, o.oprcanmerge)
    FROM pg_operator o JOIN spaces n ON n.oid = o.oprnamespace WHERE NOT {member("pg_operator", "o.oid")}
UNION ALL SELECT 'operator class', format('%I.%I using %s', n.nspname, o.opcname, a.amname), NULL,
        format_type(o.opcintype, NULL) || CASE WHEN o.opcdefault THEN ' default' ELSE '' END
    FROM pg_opclass o JOIN spaces n ON n.oid = o.opcnamespace JOIN pg_am a ON a.oid = o.opcmethod
    WHERE NOT {member("pg_opclass", "o.oid")}
UNION ALL SELECT 'cast', format('%s as %s', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)), NULL,
        concat_ws(' ', c.castmethod, c.castcontext, nullif(c.castfunc, 0)::regprocedure)
    FROM pg_cast c WHERE c.oid >= 16384 AND NOT {member("pg_cast", "c.oid")}
UNION ALL SELECT 'text search configuration', format('%I.%I', n.nspname, c.cfgname), NULL,
        (SELECT string_agg(format('%s %s', m.maptokentype, d.dictname), E'\\n' ORDER BY m.maptokentype, m.mapseqno)
            FROM pg_ts_config_map m JOIN pg_ts_dict d ON d.oid = m.mapdict WHERE m.mapcfg = c.oid)
    FROM pg_ts_config c JOIN spaces n ON n.oid = c.cfgnamespace WHERE NOT {member("pg_ts_config", "c.oid")}
UNION ALL SELECT 'text search dictionary', format('%I.%I', n.nspname, d.dictname), NULL, d.dictinitoption
    FROM pg_ts_dict d JOIN spaces n ON n.oid = d.dictnamespace WHERE NOT {member("pg_ts_dict", "d.oid")}
UNION ALL SELECT 'foreign-data wrapper', quote_ident(w.fdwname), NULL, array_to_string(w.fdwoptions, ', ')
    FROM pg_foreign_data_wrapper w WHERE NOT {member("pg_foreign_data_wrapper", "w.oid")}
UNION ALL SELECT 'server', quote_ident(s.srvname), NULL,
        concat_ws(E'\\n', s.srvtype, s.srvversion, array_to_string(s.srvoptions, E'\\n'))
    FROM pg_foreign_server s WHERE NOT {member("pg_foreign_server", "s.oid")}
UNION ALL SELECT 'event trigger', quote_ident(e.evtname), NULL,
        format('on %s execute %s enabled %s tags %s', e.evtevent, e.evtfoid::regprocedure, e.evtenabled, e.evttags)
    FROM pg_event_trigger e WHERE NOT {member("pg_event_trigger", "e.oid")}
UNION ALL SELECT 'publication', quote_ident(p.pubname), NULL, concat_ws(E'\\n',
        format('all tables %s insert %s update %s delete %s', p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete),
        (SELECT string_agg(format('%I.%I', n.nspname, c.relname), E'\\n' ORDER BY n.nspname, c.relname)
            FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE r.prpubid = p.oid))
    FROM pg_publication p
UNION ALL SELECT 'language', quote_ident(l.lanname), NULL, CASE WHEN l.lanpltrusted THEN 'trusted' END
    FROM pg_language l WHERE l.lanispl AND NOT {member("pg_language", "l.oid")}"""
