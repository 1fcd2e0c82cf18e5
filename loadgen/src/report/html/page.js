'use strict';
// What lies under the pointer, or under the arrow keys; without it the page loses nothing but this.
for (const plot of document.querySelectorAll('.plot[data-tips]')) {
  const tips = JSON.parse(plot.dataset.tips);
  if (!tips.length) continue;
  const cursor = document.createElement('div');
  const tip = document.createElement('div');
  cursor.className = 'cursor';
  tip.className = 'tip';
  tip.setAttribute('role', 'status');
  let shown = -1;
  const show = (index) => {
    shown = Math.max(0, Math.min(tips.length - 1, index));
    const [at, text] = tips[shown];
    plot.append(cursor, tip);
    cursor.style.left = at * 100 + '%';
    tip.textContent = text;
    const right = at > 0.55;
    tip.style.left = right ? 'auto' : `calc(${at * 100}% + 10px)`;
    tip.style.right = right ? `calc(${(1 - at) * 100}% + 10px)` : 'auto';
  };
  const hide = () => {
    cursor.remove();
    tip.remove();
    shown = -1;
  };
  plot.addEventListener('pointermove', (event) => {
    const box = plot.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width;
    let nearest = 0;
    tips.forEach(([place], index) => {
      if (Math.abs(place - at) < Math.abs(tips[nearest][0] - at)) nearest = index;
    });
    show(nearest);
  });
  plot.addEventListener('pointerleave', hide);
  plot.addEventListener('blur', hide);
  plot.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === 'Escape') hide();
    else if (event.key === 'Home') show(0);
    else if (event.key === 'End') show(tips.length - 1);
    else if (step) show(shown < 0 ? 0 : shown + step);
    else return;
    event.preventDefault();
  });
}
for (const button of document.querySelectorAll('[data-copy]')) {
  const code = button.parentElement.querySelector('code');
  button.hidden = false;
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = 'Copied';
    } catch {
      // Not allowed here: selected, so that Ctrl-C does it.
      getSelection().selectAllChildren(code);
      button.textContent = 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
}
