-- The first tables. gen_random_uuid() is part of PostgreSQL 13 and newer: no extension is needed for it.

CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE products (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    price numeric(10, 2) CHECK (price >= 0),
    user_id uuid REFERENCES users (id)
);

COMMENT ON TABLE products IS 'What users offer';
