// The type of the dashboards, of what Grafana publishes: @grafana/schema.

import type { AnnotationQuery, Dashboard, FieldConfigSource, Panel, RowPanel } from '@grafana/schema';
import type {
  FieldConfig as HeatmapField,
  Options as HeatmapOptions,
} from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type { PrometheusDataQuery } from '@grafana/schema/dist/esm/raw/composable/prometheus/dataquery/x/PrometheusDataQuery_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig as StatesField,
  Options as StatesOptions,
} from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type {
  FieldConfig as TableField,
  Options as TableOptions,
} from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeriesOptions,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** JSON has the values of enums, not their names. */
type Plain<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends number
      ? `${T}` extends `${infer Value extends number}`
        ? Value
        : T
      : T extends Array<infer Item>
        ? Array<Plain<Item>>
        : T extends object
          ? { [Key in keyof T]: Plain<T[Key]> }
          : T;

/** A panel of one plugin; of what a field may have, any part. */
type Of<Type extends string, Options, Field> = Plain<
  Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> & {
    type: Type;
    options: Options;
    fieldConfig: Omit<FieldConfigSource, 'defaults'> & {
      defaults: Omit<FieldConfigSource['defaults'], 'custom'> & { custom: Partial<Field> };
    };
    targets: PrometheusDataQuery[];
  }
>;

/** Versions before the published one want to be told whether there is a tooltip. */
type EarlierToo<T extends { tooltip: unknown }> = Omit<T, 'tooltip'> & { tooltip: T['tooltip'] & { show: boolean } };

type AnyPanel =
  | Of<'stat', StatOptions, Record<string, never>>
  | Of<'timeseries', TimeSeriesOptions, TimeSeriesField>
  | Of<'table', TableOptions, TableField>
  | Of<'heatmap', EarlierToo<HeatmapOptions>, HeatmapField>
  | Of<'state-timeline', StatesOptions, StatesField>
  | Plain<RowPanel>;

/** What Prometheus's plugin keeps beside what all annotations have. */
interface ByPrometheus {
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
}

/** What the one who imports a dashboard by hand is asked for. */
interface Input {
  name: string;
  label: string;
  description: string;
  type: 'datasource';
  pluginId: string;
  pluginName: string;
}

export type Document = Plain<Omit<Dashboard, 'panels' | 'annotations'>> & {
  __inputs: Input[];
  __requires: Array<{ type: string; id: string; name: string; version: string }>;
  annotations: { list: Array<Plain<Omit<AnnotationQuery, 'target'>> & ByPrometheus> };
  panels: AnyPanel[];
};
