# Children that write, each in its own way, what their parent has made: one case after the other, or those that are named.
#
# Each child writes at the line that ends in `the write` and its case's name. A case is told as a line of JSON: its name and
# the child's pid.
require 'json'

PAGES = 300
SLOTS = 400
# What a child has written stays where it is in the parent: cowtrace may look at it there.
ALIVE = []
CASES = {}
$stdout.sync = true

def child(name)
  pid = fork do
    yield
    exit!(0)
  end
  _, status = Process.wait2(pid)
  abort("#{name} failed") unless status.success?
  puts JSON.generate({ case: name, pid: pid })
end

class Held
  attr_writer :value

  def initialize(index)
    @value = index
    @one = @two = nil
  end
end

class Many
  attr_writer :value

  def initialize(index)
    @a = @b = @c = @d = @value = index
  end
end

Pair = Struct.new(:left, :right, :third, :fourth)

# A collection of everything: marks, ages, and what is dead.
CASES['full_collection'] = lambda do
  objects = Array.new(100_000) { |index| "text #{index}" }
  ALIVE << objects
  child('full_collection') { GC.start } # the write full_collection
end

# Strings that hold their characters themselves are as long as they were.
CASES['short_string'] = lambda do
  objects = Array.new(100_000) { |index| "text #{index}".b }
  ALIVE << objects
  targets = objects.each_slice(SLOTS).map(&:first)
  child('short_string') do
    GC.disable
    targets.each { |text| text.setbyte(1, 33) } # the write short_string
  end
end

CASES['long_string'] = lambda do
  text = 'x' * (PAGES * 4096)
  ALIVE << text
  child('long_string') do
    index = 0
    while index < PAGES * 4096
      text.setbyte(index, 33) # the write long_string
      index += 4096
    end
  end
end

CASES['array_item'] = lambda do
  items = Array.new(PAGES * 512, 1)
  ALIVE << items
  child('array_item') do
    index = 0
    while index < PAGES * 512
      items[index] = 2 # the write array_item
      index += 512
    end
  end
end

CASES['hash_value'] = lambda do
  table = {}
  (PAGES * 170).times { |index| table[index] = index }
  ALIVE << table
  child('hash_value') do
    index = 0
    while index < PAGES * 170
      table[index] = nil # the write hash_value
      index += 170
    end
  end
end

CASES['attribute'] = lambda do
  objects = Array.new(100_000) { |index| Held.new(index) }
  ALIVE << objects
  targets = objects.each_slice(SLOTS).map(&:first)
  child('attribute') do
    targets.each { |held| held.value = 1 } # the write attribute
  end
end

CASES['attribute_elsewhere'] = lambda do
  objects = Array.new(60_000) { |index| Many.new(index) }
  GC.start
  ALIVE << objects
  targets = objects.each_slice(50).map(&:first)
  child('attribute_elsewhere') do
    targets.each { |many| many.value = 1 } # the write attribute_elsewhere
  end
end

CASES['frozen'] = lambda do
  objects = Array.new(100_000) { |index| "text #{index}".b }
  ALIVE << objects
  targets = objects.each_slice(SLOTS).map(&:first)
  child('frozen') do
    targets.each(&:freeze) # the write frozen
  end
end

# Slots that their parent's collector has freed between those of living objects.
CASES['new_objects'] = lambda do
  objects = Array.new(100_000) { |index| "text #{index}".b }
  ALIVE << objects.each_slice(2).map(&:first)
  objects = nil
  GC.start
  child('new_objects') do
    GC.disable
    index = 0
    while index < 40_000
      Object.new # the write new_objects
      index += 1
    end
  end
end

# Caches of instructions that run for the first time.
module Fresh
  BODY = (0...400).map { |index| "def f#{index}(o) = o.to_s.size + Fresh::K + o.hash" }.join("\n")
  K = 1
  class_eval(BODY, __FILE__, 9001)
  NAMES = (0...400).map { |index| :"f#{index}" }
  extend self
end

CASES['first_calls'] = lambda do
  child('first_calls') do
    GC.disable
    Fresh::NAMES.each { |name| Fresh.public_send(name, 1) } # the write first_calls
  end
end

CASES['deep_calls'] = lambda do
  def deep(levels)
    levels.zero? ? 0 : 1 + deep(levels - 1) # the write deep_calls
  end
  deep(6000)
  child('deep_calls') { deep(6000) }
end

CASES['required'] = lambda do
  child('required') { require 'optparse' } # the write required
end

names = ARGV.empty? ? CASES.keys : ARGV
names.each { |name| CASES.fetch(name).call }
# Names of classes are read from memory: a program that is of any use goes on.
sleep 1
