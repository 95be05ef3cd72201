-- Numbers go on behind those that were copied.
SELECT setval('bucardo.goat_id_seq', greatest((SELECT max(id) FROM bucardo.goat), 1)),
       setval('bucardo.bucardo_custom_trigger_id_seq', greatest((SELECT max(id) FROM bucardo.bucardo_custom_trigger), 1)),
       setval('bucardo.customcode_id_seq', greatest((SELECT max(id) FROM bucardo.customcode), 1)),
       setval('bucardo.customname_id_seq', greatest((SELECT max(id) FROM bucardo.customname), 1)),
       setval('bucardo.customcols_id_seq', greatest((SELECT max(id) FROM bucardo.customcols), 1))
