-- Takes back the rows that the file has added, and only those.

DELETE FROM products USING users
WHERE products.user_id = users.id AND users.email = 'grace@example.com' AND products.name IN ('Compiler', 'Debugger');

DELETE FROM users WHERE email IN ('ada@example.com', 'grace@example.com');
