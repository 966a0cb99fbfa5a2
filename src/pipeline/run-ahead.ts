/**
 * The values of `inner`, the next one already under way while the consumer works on one, except after values for which
 * `mayRunAhead` says no (because two of them would take too much memory).
 */
export async function* runAhead<T>(
  inner: AsyncGenerator<T, void, undefined>,
  mayRunAhead: (value: T) => boolean,
): AsyncGenerator<T, void, undefined> {
  let pending: Promise<IteratorResult<T, void>> | undefined;
  try {
    for (;;) {
      const result = await (pending ?? inner.next());
      pending = undefined;
      if (result.done === true) return;
      if (mayRunAhead(result.value)) {
        pending = inner.next();
        // A failure is met when its turn comes, or not at all where the consumer stops first.
        pending.catch(() => undefined);
      }
      yield result.value;
    }
  } finally {
    await Promise.allSettled([pending]);
    await inner.return();
  }
}
