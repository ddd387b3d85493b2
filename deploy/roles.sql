-- The role that API and workers use. It owns nothing: `python -m jobs.migrate --grant adder_app` lets it read and write
-- the tables, which belong to `adder`. Run at every start, so that a volume of an earlier version gets it too.
\set password `cat /run/secrets/database_password`
SELECT 'CREATE ROLE adder_app' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'adder_app')
\gexec
ALTER ROLE adder_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'password';
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON DATABASE adder FROM PUBLIC;
GRANT CONNECT ON DATABASE adder TO adder_app;
