async function* lines(response) {
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    while (true) {
      const { done, value } = await text.read();  // throws if the body was cut
      if (done) return;
      const whole = (rest + value).split("\n");
      rest = whole.pop();
      for (const line of whole) yield JSON.parse(line);
    }
  } finally {
    await text.cancel();  // so that `break` leaves the server
  }
}

async function ask(url, token) {
  const headers = { Authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: "POST", headers });
  for await (const item of lines(response)) console.log(item.text);
}
