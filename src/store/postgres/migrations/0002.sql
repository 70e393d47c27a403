-- Version 2: members wait for each other. A purge is done when every other member has applied it, and what that member had
-- on its way has been purged once more.

-- The members that have not applied the purge of a job yet.
CREATE TABLE awaited (
    job bigint NOT NULL REFERENCES jobs ON DELETE CASCADE,
    run uuid NOT NULL,
    PRIMARY KEY (job, run)
);
CREATE INDEX awaited_of_run ON awaited (run);
-- The member that accepted the purge, and knows it already.
ALTER TABLE log ADD COLUMN run uuid;
