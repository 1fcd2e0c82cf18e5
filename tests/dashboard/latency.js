// What the page works out of buckets, held against values that are known.
() => {
  const bounds = [10, 100, 1000];
  const is = (got, wanted, what) => {
    if (JSON.stringify(got) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(got)}`);
  };
  is(difference([5, 0, 7], [5, 0, 3]), [[2, 4]], "what came between two polls");
  is(difference([5, 2, 0], []), [[0, 5], [1, 2]], "what came when nothing was known");
  is(difference([1, 2, 0], [3, 2, 0]), [], "a counter that began anew brought nothing");
  is(percentile([0, 0, 0], 0, 0.5, bounds), null, "none of nothing");
  is(percentile([0, 10, 0], 10, 0.5, bounds), 55, "the middle of a bucket");
  is(percentile([99, 0, 1], 100, 0.99, bounds), 10, "the ninety-ninth of a hundred");
  is(percentile([99, 0, 1], 100, 0.999, bounds) > 100, true, "what lies beyond it");
  is(percentile([0, 0, 0, 1], 1, 1, bounds), 2000, "beyond the last bound");
  const window = new Window(1000);
  window.add(0, [[1, 10]]);
  window.add(500, [[2, 10]]);
  is(window.percentile(0.25, bounds) < 100, true, "both are in the window");
  window.add(1200, []);
  is([window.total, window.percentile(0.25, bounds) > 100], [10, true], "the first has left it");
  window.add(2000, []);
  is(window.percentile(0.5, bounds), null, "all have left it");
  return true;
}
