# An application that reads a table made before the fork, and changes a row of it.
WORDS = Array.new(20_000) { |i| 'w' * (i % 40) }
TABLE = Array.new(2_000) { |i| [i, 'row'] }

def count
  TABLE[rand(TABLE.size)][1] = 'changed'
  WORDS.map(&:length).uniq.size  # the reading
end

run(lambda do |_env|
  body = "words: #{count}"
  [200, { 'content-type' => 'text/plain', 'content-length' => body.bytesize.to_s }, [body]]
end)
