// The type of a dashboard, as strict as Grafana's own types allow.
//
// `@grafana/schema` has types for a dashboard, and for the options and fields of each kind of
// panel, but leaves the options, the fields and the queries of a panel open. Here they are closed:
// each kind of panel has its own, and each kind of data source has its queries.

import type {
  AnnotationQuery,
  Dashboard as AnyDashboard,
  FieldConfig,
  Panel as AnyPanel,
  RowPanel,
  TableFieldOptions,
  VariableModel,
} from '@grafana/schema';
import type {
  FieldConfig as HeatmapField,
  Options as Heatmap,
} from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type { Options as Logs } from '@grafana/schema/dist/esm/raw/composable/logs/panelcfg/x/LogsPanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeries,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** A type whose enums are their values, as in JSON. */
type Json<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

/** A data source that is a variable. */
interface Source<Type extends string, Variable extends string> {
  type: Type;
  uid: `\${${Variable}}`;
}

/** Source: Grafana, packages/grafana-prometheus/src/types.ts, `PromQuery`. */
interface Prometheus {
  refId: string;
  datasource: Source<'prometheus', 'datasource'>;
  editorMode: 'code' | 'builder';
  expr: string;
  legendFormat?: string;
  interval?: string;
  format: 'time_series' | 'table' | 'heatmap';
  range: boolean;
  instant: boolean;
  exemplar: boolean;
}

/** Source: Grafana, public/app/plugins/datasource/loki/types.ts, `LokiQuery`. */
interface Loki {
  refId: string;
  datasource: Source<'loki', 'loki'>;
  editorMode: 'code' | 'builder';
  expr: string;
  queryType: 'instant' | 'range';
  legendFormat?: string;
  maxLines?: number;
}

/** Source: Grafana, public/app/plugins/datasource/jaeger/types.ts, `JaegerQuery`. */
interface Jaeger {
  refId: string;
  datasource: Source<'jaeger', 'traces'>;
  queryType: 'search';
  service: string;
  tags: string;
  minDuration: string;
  limit: number;
}

/** Source: Grafana, public/app/plugins/datasource/tempo/dataquery.ts, `TempoQuery`. */
interface Tempo {
  refId: string;
  datasource: Source<'tempo', 'traces'>;
  queryType: 'traceql';
  query: string;
  limit: number;
  tableType: 'traces' | 'spans' | 'raw';
  filters: [];
}

type Query = Prometheus | Loki | Jaeger | Tempo;

/** Source: Grafana, packages/grafana-data/src/types/dataLink.ts. */
interface Link {
  title: string;
  url: string;
  targetBlank: boolean;
}

/** Source: Grafana, packages/grafana-data/src/field/standardFieldConfigEditorRegistry.ts. */
type Property =
  | { id: 'unit'; value: string }
  | { id: 'links'; value: Link[] }
  | { id: 'color'; value: Json<NonNullable<FieldConfig['color']>> }
  | { id: 'custom.width'; value: number };

interface Fields<Custom> {
  defaults: Omit<Json<FieldConfig>, 'custom' | 'links'> & { custom?: Custom };
  overrides: { matcher: { id: 'byName'; options: string }; properties: Property[] }[];
}

/** Source: Grafana, packages/grafana-data/src/transformations/transformers. */
type Transformation =
  | { id: 'merge'; options: Record<string, never> }
  | { id: 'filterFieldsByName'; options: { include: { names: string[] } } }
  | { id: 'extractFields'; options: { source: string; format: 'json' | 'kvp' | 'auto'; keepTime: boolean; replace: boolean } }
  | {
      id: 'organize';
      options: {
        excludeByName: Record<string, boolean>;
        indexByName: Record<string, number>;
        renameByName: Record<string, string>;
      };
    };

type Base = Required<Pick<AnyPanel, 'id' | 'title' | 'gridPos'>> &
  Json<Pick<AnyPanel, 'description' | 'repeat' | 'repeatDirection' | 'maxPerRow'>> & {
    datasource: Query['datasource'];
    targets: Query[];
    transformations?: Transformation[];
  };

type PanelOf<Type extends string, Options, Custom> = Base & {
  type: Type;
  options: Json<Options>;
  fieldConfig: Fields<Json<Custom>>;
};

type Panel =
  | PanelOf<'timeseries', TimeSeries, TimeSeriesField>
  | PanelOf<'stat', Stat, never>
  | PanelOf<'heatmap', Heatmap, HeatmapField>
  | PanelOf<'table', Table, TableFieldOptions>
  | PanelOf<'logs', Omit<Logs, `on${string}`>, never>;

type Row = Omit<Json<RowPanel>, 'panels'> & { panels: Panel[] };

/** Source: Grafana, packages/grafana-prometheus/src/annotations.ts and its query editor. */
type Annotation = Omit<Json<AnnotationQuery>, 'datasource' | 'target'> & {
  datasource: Source<'prometheus', 'datasource'>;
  expr: string;
  step: string;
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
  useValueForTime: boolean;
};

/** Source: Grafana, packages/grafana-prometheus/src/types.ts, `PromVariableQuery`. */
type Variable = Omit<Json<VariableModel>, 'datasource' | 'query' | 'type'> &
  (
    | { type: 'datasource'; query: 'prometheus' | 'loki' | 'jaeger' | 'tempo' }
    | {
        type: 'query';
        datasource: Source<'prometheus', 'datasource'>;
        query: { query: string; refId: 'StandardVariableQuery' };
      }
  );

/** A dashboard. */
export type Dashboard = Omit<Json<AnyDashboard>, 'panels' | 'templating' | 'annotations'> & {
  panels: (Panel | Row)[];
  templating: { list: Variable[] };
  annotations: { list: Annotation[] };
};
