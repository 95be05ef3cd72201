-- A daemon starts: what troubled its predecessor shows itself again, or not.
DELETE FROM bucardo.trouble
