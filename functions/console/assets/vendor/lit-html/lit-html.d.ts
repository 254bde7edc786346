// The part of lit-html that the console uses, for the check of types.
export type TemplateResult = { readonly strings: TemplateStringsArray };
export function html(strings: TemplateStringsArray, ...values: unknown[]): TemplateResult;
export function svg(strings: TemplateStringsArray, ...values: unknown[]): TemplateResult;
export function render(value: unknown, container: HTMLElement): unknown;
export const nothing: unique symbol;
export const noChange: unique symbol;
