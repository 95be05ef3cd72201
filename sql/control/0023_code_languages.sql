-- What custom codes are written in; those of earlier versions are Perl.

ALTER TABLE bucardo.customcode ADD COLUMN IF NOT EXISTS language text NOT NULL DEFAULT 'perl';
ALTER TABLE bucardo.customcode DROP CONSTRAINT IF EXISTS customcode_language;
ALTER TABLE bucardo.customcode ADD CONSTRAINT customcode_language CHECK (language IN ('lua', 'perl', 'sql'));
