-- Checks what is checked at the commit, as far as it is not switched off, and leaves it to be checked there again.
SAVEPOINT bucardo_late;
SET CONSTRAINTS ALL IMMEDIATE;
ROLLBACK TO SAVEPOINT bucardo_late;
RELEASE SAVEPOINT bucardo_late
