import { ceilDiv } from '../../../core/dims.js';
import type { NnOps } from '../../../engine/nn.js';
import { elementCount } from '../../../engine/tensor.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor, elementFlags } from '../view-checks.js';

/** shaders/nn/embed.wgsl, once per panel; each dispatch fills the rows whose token lies in its panel. */
export function createEmbed(context: KernelContext): Pick<NnOps, 'embed'> {
  const checks = checksFor('embed');
  return {
    embed: ({ tokens, panels, out }) => {
      const n = elementCount(tokens);
      const hidden = panels[0]?.shape[1] ?? 0;
      checks.that(hidden > 0, 'no panel with columns');
      checks.vector('tokens', tokens, n, 'u32');
      checks.shape('out', out, [n, hidden], 'f32');
      let firstToken = 0;
      for (const panel of panels) {
        const panelRows = panel.shape[0];
        checks.shape('panel', panel, [panelRows, hidden], panels[0].dtype);
        context.dispatch({
          shader: 'nn/embed',
          flags: elementFlags(checks, 'panel', panel),
          params: { n, hidden, first_token: firstToken, panel_rows: panelRows },
          tensors: [tokens, panel, out],
          workgroups: ceilDiv(n * hidden, 256),
        });
        firstToken += panelRows;
      }
    },
  };
}
