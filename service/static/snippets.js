// The same call from a shell and from Python, with this server's address and the chosen model.

export function snippets(origin, model, path) {
  const query = model ? `?model=${encodeURIComponent(model)}&steps=1` : "?steps=1";
  const curl = `curl -F file=@${path} '${origin}/v1/predict${query}'`;
  const python = `import json
from urllib.request import Request, urlopen

body = open("${path}", "rb").read()
request = Request("${origin}/v1/predict${query}", data=body,
                  headers={"Content-Type": "application/octet-stream"})
answer = json.load(urlopen(request))
print(answer["label"], answer["confidence"])`;
  return { curl, python };
}

export async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
