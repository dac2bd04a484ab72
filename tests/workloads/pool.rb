# Two workers, forked from a parent that has loaded the application and what it serves, as puma and unicorn do with
# preload_app: each takes requests from a pipe of its own, answers, and collects in between.
require 'json'

ROWS = Array.new(60_000) { |index| { 'id' => index, 'name' => "row #{index}" } }
INDEX = ROWS.to_h { |row| [row['name'], row] }
REQUESTS = 300

class Application
  def initialize
    @hits = Hash.new(0)
  end

  def call(number)
    row = ROWS[number * 197 % ROWS.size]
    @hits[row['id']] += 1
    row['seen'] = number # served
    JSON.generate(INDEX[row['name']])
  end
end

application = Application.new
workers = Array.new(2) do
  requests, ask = IO.pipe
  pid = fork do
    ask.close
    while (line = requests.gets)
      application.call(line.to_i)
      GC.start if line.to_i == REQUESTS / 2
    end
    exit!(0)
  end
  requests.close
  [pid, ask]
end
REQUESTS.times { |number| workers.each { |_, ask| ask.puts(number) } }
workers.each { |_, ask| ask.close }
workers.each { |pid, _| Process.wait(pid) }
# Who owns memory is read from it: a server goes on.
sleep 2
