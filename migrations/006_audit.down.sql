DROP TRIGGER record_change ON products;
DROP TRIGGER record_change ON users;
DROP FUNCTION audit.record_change();
DROP TABLE audit.changes;
DROP SCHEMA audit;
