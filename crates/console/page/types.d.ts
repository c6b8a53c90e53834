// The answers of the API, as ../API.md describes them. Only the type checker reads this file.

export type Pairs = [string, string | number | boolean | null][];
export type Points = (number | null)[];
export type State = 'failing' | 'degraded' | 'ok' | 'idle';
export type Outcome = 'failed' | 'slow' | 'normal';

export interface Problem {
  severity: 'error' | 'warning';
  text: string;
}

export interface Trap {
  reason: string;
  count: number;
  total: number;
}

export interface Sparklines {
  start: number;
  step_seconds: number;
  rate: Points;
  error_rate: Points;
  p99: Points;
}

export interface Measured {
  state: State;
  problems: Problem[];
  seconds: number | null;
  rate: number | null;
  error_rate: number | null;
  error_ratio: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  in_flight: number | null;
  requests: { total: number };
  traps: Trap[];
  sparklines: Sparklines;
}

export interface Route extends Measured {
  route: string;
}

export interface Component extends Measured {
  component: string;
  version: string;
  tenant: string;
  waiting: number | null;
  refused_rate: number | null;
  instances: number | null;
  instances_limit: number | null;
  memory_bytes: number | null;
  memory_limit_bytes: number | null;
  memory_peak_ratio: number | null;
  busy: number | null;
  log_errors_rate: number | null;
  routes: Route[];
  routes_left_out: number;
}

export interface Overview {
  now: number;
  range_seconds: number;
  components: Component[];
  components_left_out: number;
  next: string | null;
}

export interface Change {
  time: number;
  kind: string;
  component: string;
  tenant: string;
  text: string;
}

export interface Status {
  version: string;
  start: number;
  now: number;
  epoch: string;
  snapshots: { interval_seconds: number; last: number | null; duration_seconds: number | null; series: number };
  memory: { limit_bytes: number; used_bytes: number };
  series: { kept: number; refused: number; oldest: number | null };
  logs: { kept: number; received: number; dropped: number };
  traces: { kept: number; received: number; dropped: number };
  sampling: { share: number; limit_per_second: number };
  dropped: { what: string; reason: string; count: number }[];
  changes: Change[];
  /** The service's addresses, if the host has them. */
  services?: string[];
}

export type Kind = 'counter' | 'gauge' | 'up_down_counter' | 'histogram' | 'exponential_histogram' | 'info';

export interface Metric {
  name: string;
  kind: Kind;
  unit: string;
  help: string;
  labels: string[];
  series: number;
  is_kept: boolean;
}

export interface Metrics {
  metrics: Metric[];
  next: string | null;
}

export interface Exemplar {
  time: number;
  value: number;
  trace_id: string;
  span_id: string;
  is_kept: boolean;
}

export interface Group {
  labels: Record<string, string>;
  points: Points;
  last: number | string | null;
  quantiles?: { p50: Points; p95: Points; p99: Points; mean: Points };
}

export interface Histogram {
  bounds: number[];
  buckets: (number[] | null)[];
  exemplars: Exemplar[];
}

export interface Series {
  metric: string;
  kind: Kind;
  unit: string;
  help: string;
  values: 'rate' | 'value';
  by: string | null;
  start: number;
  step_seconds: number;
  end: number;
  groups: Group[];
  others: { groups: number; points: Points };
  histogram: Histogram | null;
}

export interface Log {
  id: number;
  time: number;
  level: string;
  message: string;
  is_cut: boolean;
  target: string;
  component: string;
  version: string;
  tenant: string;
  route: string | null;
  trace_id: string | null;
  span_id: string | null;
  site: string | null;
  source: { file: string; line: number } | null;
  stream: string | null;
  is_audit: boolean;
  fields: Pairs;
  offset_seconds?: number;
}

export interface Logs {
  logs: Log[];
  newest: number;
  lost: number;
  next: string | null;
}

export interface WholeLog extends Log {
  observed: number;
  site_records: { count: number; logs: Log[] };
}

export interface TraceEntry {
  trace_id: string;
  component: string;
  version: string;
  tenant: string;
  name: string;
  method: string;
  route: string;
  status: number | null;
  start: number;
  duration_seconds: number;
  outcome: Outcome;
  reason: string | null;
  error: string | null;
}

export interface ListedTrace extends TraceEntry {
  services: string[];
  spans: number;
  logs: number;
}

export interface Traces {
  traces: ListedTrace[];
  next: string | null;
}

export interface Span {
  span_id: string;
  parent_id: string | null;
  is_parent_remote: boolean;
  name: string;
  kind: string;
  component: string;
  version: string;
  tenant: string;
  target: string;
  offset_seconds: number;
  duration_seconds: number;
  depth: number;
  is_critical: boolean;
  self_seconds: number;
  status: string;
  status_text: string;
  attributes: Pairs;
  events: { offset_seconds: number; name: string; attributes: Pairs }[];
  links: { trace_id: string; span_id: string }[];
  dropped: number;
}

export interface Distribution {
  bounds: number[];
  counts: number[];
  bucket: number;
  percentile: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  requests: number;
}

export interface Trace extends TraceEntry {
  spans: Span[];
  logs: Log[];
  critical_path: { span_id: string; offset_seconds: number; duration_seconds: number }[];
  services: ServiceCall[];
  trap: { reason: string; text: string; span_id: string | null; offset_seconds: number } | null;
  distribution: Distribution | null;
  cut: { spans: number; logs: number };
}

export interface ServiceCall {
  from: string;
  to: string;
  calls: number;
  errors: number;
  seconds: number;
}

export interface TrapGroup {
  reason: string;
  place: string;
  message: string;
  component: string;
  version: string;
  tenant: string;
  route: string;
  count: number;
  first_seen: number;
  last_seen: number;
  example_trace_id: string | null;
}

export interface Traps {
  traps: TrapGroup[];
  next: string | null;
}

export interface Attribute {
  kind: string;
  key: string;
  value: string;
  text: string;
}

export interface Cause {
  attributes: Attribute[];
  /** Of a pair, the attributes of its other part. */
  together_with: Attribute[];
  is_absence: boolean;
  selected: { with: number; share: number };
  normal: { with: number; share: number };
  effect: number;
  ratio: number | string | null;
  p_value: number;
  /** Attributes that differ because of this cause. */
  follows: Attribute[];
  text: string;
}

export interface Explanation {
  selection: { text: string };
  verdict: 'causes' | 'nothing' | 'too_few' | 'no_requests';
  text: string;
  selected: { requests: number; of: number };
  normal: { requests: number; of: number };
  error_level: number;
  causes: Cause[];
  /** Reports of the failure itself. */
  signs: Cause[];
  examples: ListedTrace[];
  logs: Log[];
  changes: Change[];
}
