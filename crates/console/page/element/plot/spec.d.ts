// The input of a plot. Only the type checker reads this file.

export interface Line {
  label: string;
  /** The name of a style property. */
  color: string;
  values: (number | null)[];
  dash?: number[];
}

/** A request, drawn as a link. */
export interface Point {
  time: number;
  value: number;
  href: string;
  label: string;
  /** `failed`, or `plain`. */
  kind: string;
}

export interface Selection {
  from: number;
  to: number;
  min?: number;
  max?: number;
}

export interface Heat {
  bounds: number[];
  /** Observations of each bucket, by time. */
  cells: (number[] | null)[];
}

export interface Spec {
  /** The answer that is drawn: nothing is drawn again while it is the same. */
  source: unknown;
  /** Names the structure; another one is another plot. */
  key: string;
  title: string;
  times: number[];
  lines: Line[];
  format: (value: number | null | undefined) => string;
  window: [number, number];
  scale?: 'linear' | 'log';
  heat?: Heat;
  points?: Point[];
  selection?: Selection | null;
  selectsValues?: boolean;
  select?: (selection: Selection | null) => void;
  height?: number;
}
