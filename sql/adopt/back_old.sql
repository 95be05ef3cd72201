-- What is undelivered, in the table that version 4 reads; nothing is noted as delivered, so each database gets all of it.
--   {rowids} {values}   $1 oid table
INSERT INTO bucardo.bucardo_delta (tablename, {rowids}, txntime) SELECT DISTINCT $1::oid, {values}, b.txntime FROM bucardo_back AS b
