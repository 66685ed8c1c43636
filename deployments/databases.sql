-- PostgreSQL runs this once, when its volume is empty: Packshot's own database is made by POSTGRES_DB.
CREATE DATABASE prefect;
