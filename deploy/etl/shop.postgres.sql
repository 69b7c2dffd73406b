-- What pipelines are tried on: ten thousand orders, a fiftieth of them nobody's.
CREATE SCHEMA IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.orders (
  id bigint PRIMARY KEY,
  customer int,
  amount numeric(12,2) NOT NULL,
  at timestamptz NOT NULL,
  note text
);
INSERT INTO shop.orders
SELECT n, CASE WHEN n % 50 <> 0 THEN n % 400 END, (n * 37 % 100000)::numeric / 100,
  timestamptz '2026-01-01 00:00:00+00' + n * interval '7 minutes', CASE n % 7 WHEN 0 THEN '' WHEN 1 THEN 'é "quoted"' END
FROM generate_series(1, 10000) AS n
ON CONFLICT DO NOTHING;
