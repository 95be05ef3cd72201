-- Makes the partition of the freezer that runs of tomorrow will go to.
SELECT bucardo.create_child_q(to_char((now() + interval '1 day') AT TIME ZONE 'UTC', '"child_q_"YYYYMMDD')) AS said
