-- What pipelines are tried on: the customers of the orders in PostgreSQL.
CREATE TABLE IF NOT EXISTS customers (
  id int unsigned PRIMARY KEY,
  name varchar(100) NOT NULL,
  country enum('DE', 'FR', 'IT') NOT NULL,
  since datetime NOT NULL,
  credit decimal(10,2)
) CHARACTER SET utf8mb4;
INSERT IGNORE INTO customers
SELECT seq, CONCAT('customer ', seq), 1 + seq % 3, '2020-01-01' + INTERVAL seq DAY, IF(seq % 10 = 0, NULL, seq * 1.25)
FROM seq_0_to_399;
