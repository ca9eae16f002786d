-- Tables for the messages of stations (docs/mqtt.md), for PostgreSQL 12 or later; with a hypertable
-- if TimescaleDB is installed. Can be run again: existing data are kept.
--
--   createdb crns && psql -v ON_ERROR_STOP=1 -d crns -f schema.sql
--
-- The key of a record is (station, ends); a duplicate changes nothing unless its rev is higher. A
-- message that arrives twice, late, or from a station with a new SD card is therefore stored once.
BEGIN;
CREATE SCHEMA IF NOT EXISTS crns;

CREATE TABLE IF NOT EXISTS crns.observation (
  station text NOT NULL,
  ends timestamptz NOT NULL,              -- of the counting interval
  starts timestamptz NOT NULL,
  window_ends timestamptz,                -- end of the 24 h window of theta
  id text NOT NULL,                       -- station:epoch:seq
  rev integer NOT NULL,
  theta double precision,                 -- [m3/m3], 0-30 cm, network
  theta_sigma double precision,
  theta_p05 double precision,
  theta_p95 double precision,
  theta_classical double precision,       -- [m3/m3], COSMIC inversion
  layers jsonb NOT NULL,
  d86_cm double precision,
  storage_mm double precision,
  depletion double precision,             -- of the available water, 0 full to 1 wilting
  depletion_p05 double precision,
  depletion_p95 double precision,
  threshold double precision,             -- depletion at which to irrigate
  available_mm double precision,
  capacity_mm double precision,
  rate_mm_d double precision,
  days_to_threshold double precision,
  days_p05 double precision,
  days_p95 double precision,
  n_raw_cph double precision,             -- [counts/h]
  n_corr_cph double precision,
  n_corr_sigma_cph double precision,
  counts double precision,
  live_s double precision,
  met jsonb NOT NULL,
  q smallint NOT NULL,                    -- QARTOD: 1 pass, 3 suspect, 4 fail, 9 missing
  flags text[] NOT NULL,
  model text NOT NULL,                    -- name and version
  time_q text NOT NULL,
  PRIMARY KEY (station, ends)
);
ALTER TABLE crns.observation             -- since 0.2.0; null without snow
  ADD COLUMN IF NOT EXISTS swe_mm double precision,  -- snow water equivalent
  ADD COLUMN IF NOT EXISTS swe_p05_mm double precision,
  ADD COLUMN IF NOT EXISTS swe_p95_mm double precision;

-- Columns of later versions, which an older table lacks.
ALTER TABLE crns.observation
  ADD COLUMN IF NOT EXISTS root_depth_cm double precision,  -- of the crop's root zone
  ADD COLUMN IF NOT EXISTS root_depletion double precision,
  ADD COLUMN IF NOT EXISTS root_threshold double precision, -- depletion at which to irrigate
  ADD COLUMN IF NOT EXISTS root_days_to_threshold double precision,
  ADD COLUMN IF NOT EXISTS irrigate boolean,                -- null: unknown, advice has the reason
  ADD COLUMN IF NOT EXISTS advice text;                     -- null: of an older station

CREATE TABLE IF NOT EXISTS crns.station (
  station text PRIMARY KEY,
  meta jsonb,                             -- site, software, units, model
  status jsonb,                           -- online, stopped or lost, and trouble
  status_at timestamptz                   -- arrival of the status
);

CREATE TABLE IF NOT EXISTS crns.event (
  station text NOT NULL,
  kind text NOT NULL,
  at timestamptz NOT NULL,
  text text NOT NULL,
  PRIMARY KEY (station, kind, at, text)
);

-- Invalid messages, for diagnosis.
CREATE TABLE IF NOT EXISTS crns.refused (
  at timestamptz NOT NULL DEFAULT now(),
  topic text NOT NULL,
  payload text NOT NULL,
  why text NOT NULL
);

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') THEN
    CREATE EXTENSION IF NOT EXISTS timescaledb;
    PERFORM create_hypertable('crns.observation', 'ends',
      chunk_time_interval => INTERVAL '30 days', if_not_exists => true, migrate_data => true);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION crns.take_observation(of_station text, o jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  is_new boolean;
  w jsonb := o->'water';
  r jsonb := o->'root_zone';
BEGIN
  IF split_part(o->>'id', ':', 1) IS DISTINCT FROM of_station THEN
    RAISE data_exception USING MESSAGE = format('id %s under the topic of %s', o->'id', of_station);
  END IF;
  INSERT INTO crns.observation AS known VALUES (
    of_station, (o->>'end')::timestamptz, (o->>'start')::timestamptz,
    (o->>'window_end')::timestamptz, o->>'id', (o->>'rev')::integer,
    (o#>>'{theta,value}')::float8, (o#>>'{theta,sigma}')::float8,
    (o#>>'{theta,p05}')::float8, (o#>>'{theta,p95}')::float8,
    (o#>>'{theta_classical,value}')::float8, o->'layers',
    (o#>>'{depth,d86_cm}')::float8, (o->>'storage_mm')::float8,
    (w#>>'{depletion,value}')::float8, (w#>>'{depletion,p05}')::float8,
    (w#>>'{depletion,p95}')::float8, (w->>'threshold')::float8,
    (w#>>'{available_mm,value}')::float8, (w->>'capacity_mm')::float8,
    (w->>'rate_mm_d')::float8, (w#>>'{days_to_threshold,value}')::float8,
    (w#>>'{days_to_threshold,p05}')::float8, (w#>>'{days_to_threshold,p95}')::float8,
    (o#>>'{n,raw_cph}')::float8, (o#>>'{n,corr_cph}')::float8,
    (o#>>'{n,corr_sigma_cph}')::float8, (o#>>'{n,counts}')::float8,
    (o#>>'{n,live_s}')::float8, o->'met', (o->>'q')::smallint,
    ARRAY(SELECT jsonb_array_elements_text(o->'flags')),
    concat_ws(' ', o#>>'{model,name}', o#>>'{model,version}'), o->>'time_q',
    (o#>>'{snow,swe_mm,value}')::float8, (o#>>'{snow,swe_mm,p05}')::float8,
    (o#>>'{snow,swe_mm,p95}')::float8,
    (r->>'depth_cm')::float8, (r#>>'{depletion,value}')::float8, (r->>'threshold')::float8,
    (r#>>'{days_to_threshold,value}')::float8, (o->>'irrigate')::boolean, o->>'advice'
  )
  ON CONFLICT (station, ends) DO UPDATE SET (
    starts, window_ends, id, rev, theta, theta_sigma, theta_p05, theta_p95, theta_classical,
    layers, d86_cm, storage_mm, depletion, depletion_p05, depletion_p95, threshold, available_mm,
    capacity_mm, rate_mm_d, days_to_threshold, days_p05, days_p95, n_raw_cph, n_corr_cph,
    n_corr_sigma_cph, counts, live_s, met, q, flags, model, time_q,
    swe_mm, swe_p05_mm, swe_p95_mm, root_depth_cm,
    root_depletion, root_threshold, root_days_to_threshold, irrigate, advice
  ) = (
    excluded.starts, excluded.window_ends, excluded.id, excluded.rev, excluded.theta,
    excluded.theta_sigma, excluded.theta_p05, excluded.theta_p95, excluded.theta_classical,
    excluded.layers, excluded.d86_cm, excluded.storage_mm, excluded.depletion,
    excluded.depletion_p05, excluded.depletion_p95, excluded.threshold, excluded.available_mm,
    excluded.capacity_mm, excluded.rate_mm_d, excluded.days_to_threshold, excluded.days_p05,
    excluded.days_p95, excluded.n_raw_cph, excluded.n_corr_cph, excluded.n_corr_sigma_cph,
    excluded.counts, excluded.live_s, excluded.met, excluded.q, excluded.flags, excluded.model,
    excluded.time_q, excluded.swe_mm, excluded.swe_p05_mm, excluded.swe_p95_mm,
    excluded.root_depth_cm, excluded.root_depletion, excluded.root_threshold,
    excluded.root_days_to_threshold, excluded.irrigate, excluded.advice
  )
  WHERE excluded.rev > known.rev
  RETURNING xmax = 0 INTO is_new;
  RETURN CASE is_new WHEN true THEN 'new' WHEN false THEN 'revised' ELSE 'known' END;
END $$;

-- Store one message, given its station, the rest of its topic and its payload. Returns new, revised,
-- known, ignored or refused; no payload makes it fail.
CREATE OR REPLACE FUNCTION crns.take(of_station text, name text, payload text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  o jsonb;
BEGIN
  o := payload::jsonb;
  IF name = 'obs/theta' THEN
    RETURN crns.take_observation(of_station, o);
  ELSIF o->>'station' IS DISTINCT FROM of_station THEN
    RAISE data_exception USING MESSAGE = format('%s under the topic of %s', o->'station', of_station);
  ELSIF name = 'status' THEN
    INSERT INTO crns.station AS known (station, status, status_at) VALUES (of_station, o, now())
    ON CONFLICT (station) DO UPDATE SET status = excluded.status, status_at = excluded.status_at
    WHERE known.status IS DISTINCT FROM excluded.status;
  ELSIF name = 'meta' THEN
    INSERT INTO crns.station AS known (station, meta) VALUES (of_station, o)
    ON CONFLICT (station) DO UPDATE SET meta = excluded.meta;
  ELSIF name LIKE 'event/%' THEN
    INSERT INTO crns.event VALUES (of_station, o->>'kind', (o->>'time')::timestamptz, o->>'text')
    ON CONFLICT DO NOTHING;
  ELSE
    RETURN 'ignored';
  END IF;
  RETURN CASE WHEN FOUND THEN 'new' ELSE 'known' END;
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
  INSERT INTO crns.refused (topic, payload, why)
    VALUES (concat(of_station, '/', name), left(payload, 4096), SQLERRM);
  RETURN 'refused';
END $$;

-- State of each station: its newest record, which may be late, and its status.
CREATE OR REPLACE VIEW crns.latest AS
SELECT s.station, s.meta#>>'{site,name}' AS site, s.status->>'state' AS state,
  s.status->>'trouble' AS trouble, s.status_at, o.ends, o.theta, o.theta_p05, o.theta_p95,
  o.depletion, o.threshold,
  CASE WHEN o.advice IS NULL THEN o.depletion >= o.threshold ELSE o.irrigate END AS irrigate,
  o.days_to_threshold, o.q, o.flags, o.advice, o.root_depth_cm, o.root_depletion, o.root_threshold,
  o.root_days_to_threshold
FROM crns.station s
LEFT JOIN LATERAL (
  SELECT * FROM crns.observation WHERE station = s.station ORDER BY ends DESC LIMIT 1
) o ON true;
COMMIT;
