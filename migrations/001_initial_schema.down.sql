-- The down migration: python db_setup rollback. The rows are lost with the tables.

DROP TABLE products;
DROP TABLE users;
