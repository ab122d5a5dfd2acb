/** Why a unit is kept or dropped, in words. */

const REASONS = {
  score: "kept by its score",
  always: "always kept, as its text asks for",
  head: "kept as one of the first units",
  tail: "kept as one of the last units",
  neighbour: "kept as a neighbour of a kept unit",
  structure: "kept as structure that a kept unit needs",
  "relevant passage": "kept as the best unit of a relevant passage",
  unreadable: "kept, since the model cannot read the passage or the question",
  never: "dropped, as its text is never kept",
  duplicate: "dropped as a duplicate of what a more relevant passage says",
  budget: "dropped, since it does not fit the token budget",
};

/** Return a sentence about a unit of the response. */
export function explained({ kept, reason }) {
  if (!reason) return kept ? "kept" : "dropped by its score";
  return REASONS[reason] ?? `${kept ? "kept" : "dropped"}: ${reason}`;
}

/** Return the word beside a unit; nothing where its score alone decided. */
export const noted = ({ reason }) => (reason && reason !== "score" ? reason : "");
