-- Settings that hold for one sync or table.
INSERT INTO bucardo.bucardo_config (name, setting, defval, about, type, item)
SELECT c.name, c.setting, c.defval, c.about, c.type, c.item
FROM bucardo_perl.bucardo_config AS c
WHERE c.item IS NOT NULL
