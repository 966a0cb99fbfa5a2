import { Template } from '@huggingface/jinja';

/** Why a chat template cannot be used, in the parser's words; undefined when it parses. */
export function chatTemplateProblem(template: string): string | undefined {
  try {
    new Template(template);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
