-- A file needs no number: db_setup gives it the next free one when it is first applied, and keeps it.

INSERT INTO users (email) VALUES ('ada@example.com'), ('grace@example.com');

INSERT INTO products (name, price, user_id)
SELECT item.name, item.price, users.id
FROM (VALUES ('Compiler', 10.00), ('Debugger', 5.50)) AS item (name, price)
JOIN users ON users.email = 'grace@example.com';
