-- People who look into the control database see the catalog first.
--   {database}  its name
ALTER DATABASE {database} SET search_path = bucardo, public
