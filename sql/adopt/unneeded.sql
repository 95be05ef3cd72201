-- Nobody needs the changes of tables that were captured after the Perl program had gone.
DELETE FROM bucardo.captured_sync
