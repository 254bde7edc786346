// The API's types, by route. `drivesync-api` is generated from its description.
import type { components, paths } from "drivesync-api";

export type Schemas = components["schemas"];
export type Path = keyof paths;
type Method = "get" | "post" | "put" | "patch" | "delete";

type Content<R> = R extends { content: { "application/json": infer T } } ? T : undefined;
type Good<R> = {
  [S in keyof R]: S extends 200 | 201 | 202 | 204 ? Content<R[S]> : never;
}[keyof R];

/** The routes that have a method. */
export type With<M extends Method> = {
  [P in Path]: paths[P] extends { [K in M]: { responses: unknown } } ? P : never;
}[Path];

/** What a route answers. */
export type Answer<P extends Path, M extends Method> = paths[P] extends {
  [K in M]: { responses: infer R };
}
  ? Good<R>
  : never;

/** The parameters of a path. */
export type InPath<P extends string> = P extends `${string}{${infer N}}${infer Rest}`
  ? { [K in N | keyof InPath<Rest>]: string }
  : {};

/** The parameters of a query. */
export type InQuery<P extends Path, M extends Method> = paths[P] extends {
  [K in M]: { parameters: { query?: infer Q } };
}
  ? Q
  : {};

/** The body that a route takes. */
export type Body<P extends Path, M extends Method> = paths[P] extends {
  [K in M]: { requestBody?: { content: infer C } };
}
  ? C[keyof C]
  : undefined;

export type Config = {
  issuer: string | null;
  client_id: string;
  role_claim: string;
  live_url: string;
  content_url: string | null;
  token_path: string | null;
  local: boolean;
  version: string;
  release: string;
};
