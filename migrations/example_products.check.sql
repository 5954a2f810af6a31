-- Asked before example_products.sql is committed: a row that comes back, or a false, rolls the whole file back.

SELECT name FROM products WHERE price IS NULL;
SELECT count(*) >= 2 FROM users;
