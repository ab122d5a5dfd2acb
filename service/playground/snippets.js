/** The current request as code to copy. It refers to the API key by its variable. */

const KEY = "SECATEUR_API_KEY";
const INDENT = "    ";

/** Format a value as a Python literal; strings as JSON, whose escapes Python understands. */
function python(value, margin = "") {
  const inner = margin + INDENT;
  if (Array.isArray(value)) {
    return `[\n${value.map((item) => `${inner}${python(item, inner)},\n`).join("")}${margin}]`;
  }
  if (value !== null && typeof value === "object") {
    const items = Object.entries(value);
    const lines = items.map(([name, item]) => `${inner}${JSON.stringify(name)}: ${python(item, inner)},\n`);
    return `{\n${lines.join("")}${margin}}`;
  }
  return typeof value === "boolean" ? (value ? "True" : "False") : JSON.stringify(value);
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curlSnippet({ url, body, hasKey }) {
  const key = hasKey ? ` \\\n  -H "Authorization: Bearer $${KEY}"` : "";
  return `curl -sS ${quoted(`${url}v1/prune`)} \\
  -H 'Content-Type: application/json'${key} \\
  -d ${quoted(JSON.stringify(body, null, 2))}`;
}

function pythonSnippet({ url, body, hasKey }) {
  const key = hasKey ? `${INDENT}headers={"Authorization": f"Bearer {os.environ['${KEY}']}"},\n` : "";
  return `${hasKey ? "import os\n\n" : ""}import httpx

response = httpx.post(
    ${JSON.stringify(`${url}v1/prune`)},
    json=${python(body, INDENT)},
${key}    timeout=60,
)
response.raise_for_status()
for passage in response.json()["results"]:
    print(f"{passage['score']:.2f}", passage["text"])
`;
}

function langchainSnippet({ url, body, model, hasKey }) {
  const key = hasKey ? `os.environ["${KEY}"]` : '"none"';
  const documents = body.passages.map((passage) => {
    const { title, text } = typeof passage === "string" ? { text: passage } : passage;
    if (!title) return `${INDENT}Document(${JSON.stringify(text)}),\n`;
    return `${INDENT}Document(${JSON.stringify(text)}, metadata={"title": ${JSON.stringify(title)}}),\n`;
  });
  return `${hasKey ? "import os\n\n" : ""}from langchain_cohere import CohereRerank
from langchain_core.documents import Document

rerank = CohereRerank(
    base_url=${JSON.stringify(url.replace(/\/$/, ""))},
    cohere_api_key=${key},
    model=${JSON.stringify(model)},
    top_n=${Math.max(1, body.passages.length)},
)
documents = [
${documents.join("")}]
for document in rerank.compress_documents(documents, ${JSON.stringify(body.query)}):
    print(f"{document.metadata['relevance_score']:.2f}", document.page_content)
`;
}

/** Languages by name: a function that returns the code, and a note. */
export const SNIPPETS = {
  curl: { write: curlSnippet, note: "Add \"return_units\": true for every unit’s probability." },
  python: { write: pythonSnippet, note: "pip install httpx" },
  langchain: {
    write: langchainSnippet,
    note: "pip install langchain-cohere. It ranks the passages by their texts alone; what is pruned it cannot return.",
  },
};
