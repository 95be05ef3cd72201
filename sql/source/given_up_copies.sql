-- Readers that wait for a person get their copy by themselves: the policy is another one now.
UPDATE bucardo.track SET round = -3 WHERE round = -2
