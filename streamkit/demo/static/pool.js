// HTTP/1.1 gives a page six connections to a server. The record takes one and another is left for
// seeking and for the page itself, so that four streams may be open. A fifth parks the oldest, and
// a stream that nobody can see is closed.

const MOST = 4;
const open = [];

export function enter(card) {
  leave(card);
  open.push(card);
  while (open.length > MOST) open[0].park();
}

export function leave(card) {
  const at = open.indexOf(card);
  if (at >= 0) open.splice(at, 1);
}

export function parkAll() {
  for (const card of [...open]) card.park();
}
