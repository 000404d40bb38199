//! The word lists behind the questions, written for this task. A table reads `asked = right; asked = right|also right`.
//! A right answer that is missing from a list costs a model half a reward, so the lists lean to the generous side.

/// Each animal is clearly smaller than each one of a later row.
pub(super) const ANIMALS_BY_SIZE: [&[&str]; 6] = [
    &["ant", "bee", "flea", "ladybug"],
    &["mouse", "frog", "sparrow", "hamster"],
    &["cat", "rabbit", "chicken", "duck"],
    &["sheep", "goat", "wolf"],
    &["horse", "cow", "camel", "buffalo"],
    &["elephant", "whale"],
];

pub(super) const OPPOSITES: &str = "\
    hot = cold; big = small|little|tiny; up = down; fast = slow; happy = sad|unhappy; light = dark|heavy; day = night; \
    old = young|new; hard = soft|easy; wet = dry; open = closed|close|shut; high = low; full = empty; rich = poor; \
    strong = weak; early = late; loud = quiet|silent|soft; clean = dirty; near = far; left = right; black = white; \
    tall = short; thick = thin; good = bad|evil; love = hate|hatred; win = lose; first = last; inside = outside; true \
    = false|untrue; push = pull; buy = sell; begin = end|finish|stop; sweet = sour|bitter; wide = narrow; deep = \
    shallow; rough = smooth; sharp = dull|blunt; north = south; east = west; above = below|under|beneath; male = \
    female; summer = winter; asleep = awake; alive = dead; always = never; ancient = modern|new; arrive = \
    leave|depart; ask = answer|reply; cheap = expensive|costly; laugh = cry|weep; remember = forget; sink = float; \
    tight = loose; war = peace; hello = goodbye|bye; even = odd|uneven; simple = complex|complicated|difficult; friend \
    = enemy|foe; front = back|rear; cool = warm|hot; safe = dangerous|unsafe; noisy = quiet|silent";

/// All that may be said instead of the right color.
pub(super) const COLORS: &str = "\
    red orange yellow green blue purple violet pink brown black white gray grey";

pub(super) const COLOR_OF: &str = "\
    grass = green; the sky on a clear day = blue; snow = white; a ripe banana = yellow; a ripe tomato = red; coal = \
    black; a lemon = yellow; milk = white; a carrot = orange; blood = red; chocolate = brown; an eggplant = \
    purple|violet; a strawberry = red; a flamingo = pink; a pumpkin = orange; a polar bear = white; a lime = green; a \
    fire truck = red; a crow = black; ketchup = red; mustard = yellow; charcoal = black; a stop sign = red; broccoli = \
    green; a cucumber = green; a ruby = red; an emerald = green; a sapphire = blue; cotton = white; a swan = white; \
    corn = yellow; lettuce = green; spinach = green; salt = white; a raven = black; an elephant = gray|grey; a \
    blueberry = blue; a cherry = red; a pea = green; a school bus = yellow; mud = brown; coffee = brown|black";

pub(super) const REVIEWED: &str = "movie book meal hotel concert trip lesson game party show";
pub(super) const PRAISE: &str = "\
    wonderful great fantastic excellent lovely amazing perfect superb";
pub(super) const BLAME: &str = "\
    terrible awful boring horrible disappointing dreadful bad poor";

pub(super) const PLURALS: &str = "\
    cat = cats; box = boxes; city = cities; child = children; mouse = mice; foot = feet; tooth = teeth; man = men; \
    woman = women; leaf = leaves; knife = knives; wolf = wolves; baby = babies; dish = dishes; bus = buses|busses; \
    tomato = tomatoes; potato = potatoes; goose = geese; book = books; tree = trees; car = cars; dog = dogs; house = \
    houses; lady = ladies; party = parties; story = stories; fox = foxes; watch = watches; church = churches; brush = \
    brushes; glass = glasses; wife = wives; shelf = shelves; loaf = loaves; key = keys; boy = boys; day = days; toy = \
    toys; apple = apples; berry = berries; puppy = puppies; country = countries; family = families; hero = heroes; \
    peach = peaches; bench = benches; match = matches; class = classes; dress = dresses; wish = wishes; person = \
    people|persons; star = stars; bird = birds; chair = chairs; flower = flowers; pencil = pencils";

pub(super) const PASTS: &str = "\
    go = went; eat = ate; see = saw; run = ran; walk = walked; take = took; give = gave; come = came; make = made; \
    write = wrote; sing = sang; swim = swam; drink = drank; drive = drove; fly = flew; speak = spoke; break = broke; \
    buy = bought; bring = brought; think = thought; catch = caught; teach = taught; find = found; keep = kept; sleep = \
    slept; feel = felt; lose = lost; meet = met; pay = paid; play = played; jump = jumped; talk = talked; help = \
    helped; cook = cooked; work = worked; stop = stopped; try = tried; study = studied; carry = carried; dance = \
    danced; begin = began; know = knew; grow = grew; throw = threw; fall = fell; hold = held; stand = stood; win = \
    won; send = sent; build = built";

pub(super) const CAPITALS: &str = "\
    France = Paris; Italy = Rome; Spain = Madrid; Germany = Berlin; England = London; Japan = Tokyo; China = Beijing; \
    Russia = Moscow; Greece = Athens; Egypt = Cairo; Portugal = Lisbon; Ireland = Dublin; Austria = Vienna; Poland = \
    Warsaw; Sweden = Stockholm; Norway = Oslo; Finland = Helsinki; Denmark = Copenhagen; Hungary = Budapest; Canada = \
    Ottawa; Cuba = Havana; Peru = Lima; Kenya = Nairobi; Thailand = Bangkok; South Korea = Seoul; Turkey = Ankara; \
    Belgium = Brussels; the Netherlands = Amsterdam; Iraq = Baghdad; Iran = Tehran; Chile = Santiago; Vietnam = Hanoi; \
    the Philippines = Manila; Ukraine = Kyiv|Kiev; Scotland = Edinburgh; Lebanon = Beirut";

/// No word begins with a letter that English also writes alone or after an apostrophe (`a`, `I`, `it's`, `don't`,
/// `I'd`, `I'm`), because such a letter would be mentioned by accident.
pub(super) const FIRST_LETTERS: &str = "\
    book candle forest garden hammer jacket kitchen lemon needle ocean pencil rabbit village window zebra bridge \
    castle feather guitar honey jungle kettle ladder nest orange piano river violin winter basket camera farmer giant \
    helmet jelly king lamp napkin olive pillow ribbon valley wagon butter carrot flower ghost hotel jewel kite lion \
    noodle onion planet rocket vase whale zipper";

pub(super) const DAYS: &str = "\
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday";
pub(super) const MONTHS: &str = "\
    January February March April May June July August September October November December";

/// Here the second of the two is wrong.
pub(super) const EITHER_OR: &str = "\
    a rose = a plant|an animal; an oak = a plant|an animal; a tulip = a plant|an animal; a cactus = a plant|an animal; \
    bamboo = a plant|an animal; a fern = a plant|an animal; a tiger = an animal|a plant; a shark = an animal|a plant; \
    an eagle = an animal|a plant; a monkey = an animal|a plant; a penguin = an animal|a plant; a lizard = an animal|a \
    plant; ice = cold|hot; fire = hot|cold; lava = hot|cold; snow = cold|hot; the sun = hot|cold; a freezer = \
    cold|hot; a feather = light|heavy; a truck = heavy|light; an anvil = heavy|light; a balloon = light|heavy; a rock \
    = hard|soft; a pillow = soft|hard; steel = hard|soft; a diamond = hard|soft; cotton = soft|hard; a cheetah = \
    fast|slow; a snail = slow|fast; a turtle = slow|fast; a rocket = fast|slow; sugar = sweet|sour; a lemon = \
    sour|sweet; honey = sweet|sour; vinegar = sour|sweet; a desert = dry|wet; the ocean = wet|dry; rain = wet|dry; an \
    apple = a fruit|a vegetable; a banana = a fruit|a vegetable; a carrot = a vegetable|a fruit; broccoli = a \
    vegetable|a fruit; spinach = a vegetable|a fruit; a grape = a fruit|a vegetable; an eagle = a bird|a fish; a \
    salmon = a fish|a bird; a tuna = a fish|a bird; an owl = a bird|a fish; a trout = a fish|a bird; a parrot = a \
    bird|a fish; France = a country|a city; Tokyo = a city|a country; Brazil = a country|a city; Chicago = a city|a \
    country; India = a country|a city; Berlin = a city|a country; midnight = dark|bright; noon = bright|dark; a cave = \
    dark|bright; lightning = bright|dark";

/// Lists of things under the name that a question uses. No member is mentioned in another member of its list, so that
/// one thing never counts twice.
pub(super) const THINGS: [(&str, &str); 32] = [
    (
        "fruits",
        "apple, banana, orange, grape, strawberry, blueberry, raspberry, blackberry, mango, pineapple, peach, pear, \
         plum, cherry, kiwi, lemon, lime, melon, watermelon, cantaloupe, papaya, apricot, fig, date, pomegranate, \
         coconut, grapefruit, cranberry, tangerine, nectarine, guava, avocado, tomato, passionfruit, lychee, mandarin",
    ),
    (
        "vegetables",
        "carrot, broccoli, spinach, potato, tomato, onion, pepper, lettuce, cucumber, cabbage, cauliflower, kale, \
         celery, pea, bean, corn, zucchini, eggplant, beet, radish, asparagus, garlic, leek, turnip, squash, pumpkin, \
         mushroom, yam, artichoke, okra, chard, parsnip, sprout",
    ),
    (
        "animals",
        "dog, cat, lion, tiger, elephant, bear, horse, cow, pig, sheep, goat, rabbit, monkey, giraffe, zebra, wolf, \
         wolves, fox, deer, mouse, mice, rat, snake, bird, fish, whale, dolphin, shark, kangaroo, panda, koala, \
         leopard, cheetah, gorilla, camel, frog, turtle, crocodile, penguin, eagle, owl, duck, chicken, squirrel, bat, \
         hippo, hippopotamus, rhino, rhinoceros, chimpanzee, orangutan, jaguar, otter, seal, octopus, lizard, hamster, \
         donkey, butterfly, parrot, bee",
    ),
    (
        "farm animals",
        "cow, pig, sheep, goat, horse, chicken, duck, turkey, goose, geese, donkey, rabbit, llama, alpaca, hen, \
         rooster, lamb, bull, ox, dog, cat, calf, calves, pony, mule, cattle",
    ),
    (
        "birds",
        "eagle, owl, hawk, sparrow, robin, parrot, penguin, duck, goose, geese, swan, crow, raven, pigeon, dove, \
         ostrich, flamingo, peacock, hummingbird, woodpecker, seagull, turkey, chicken, falcon, pelican, stork, crane, \
         finch, canary, cardinal, bluebird, jay, heron, kingfisher, vulture, toucan, swallow, magpie, cuckoo, emu, \
         albatross, puffin",
    ),
    (
        "fish",
        "salmon, tuna, trout, cod, shark, goldfish, carp, catfish, bass, herring, sardine, mackerel, halibut, tilapia, \
         swordfish, eel, pike, perch, snapper, flounder, anchovy, clownfish, marlin, sturgeon, piranha, sole, haddock, \
         guppy, barracuda",
    ),
    (
        "insects",
        "ant, bee, butterfly, mosquito, fly, beetle, grasshopper, cricket, wasp, moth, dragonfly, ladybug, cockroach, \
         termite, flea, firefly, hornet, locust, caterpillar, cicada, mantis, aphid, gnat, ladybird, bumblebee, \
         honeybee",
    ),
    (
        "colors",
        "red, blue, green, yellow, orange, purple, pink, black, white, brown, gray, grey, violet, indigo, cyan, \
         magenta, turquoise, gold, silver, maroon, teal, beige, lavender, navy",
    ),
    (
        "countries",
        "france, germany, italy, spain, china, japan, india, brazil, canada, mexico, russia, australia, egypt, \
         england, usa, united states, america, uk, united kingdom, portugal, greece, turkey, sweden, norway, finland, \
         denmark, poland, austria, switzerland, belgium, netherlands, ireland, scotland, argentina, chile, peru, \
         colombia, cuba, korea, vietnam, thailand, indonesia, philippines, malaysia, singapore, pakistan, nepal, iran, \
         iraq, israel, kenya, nigeria, ethiopia, south africa, morocco, ukraine, hungary, iceland, new zealand, ghana, \
         bangladesh, saudi arabia, romania",
    ),
    (
        "cities",
        "paris, london, rome, madrid, berlin, tokyo, beijing, moscow, new york, los angeles, chicago, san francisco, \
         boston, toronto, sydney, melbourne, cairo, mumbai, delhi, istanbul, athens, lisbon, dublin, vienna, \
         amsterdam, barcelona, shanghai, hong kong, singapore, dubai, seoul, bangkok, miami, seattle, houston, dallas, \
         washington, rio de janeiro, são paulo, sao paulo, buenos aires, mexico city, prague, munich, milan, venice, \
         florence, montreal, vancouver, lagos, nairobi, philadelphia, las vegas, stockholm, copenhagen, oslo, \
         helsinki, budapest, warsaw, brussels, zurich, kyoto, osaka, jakarta, lima, denver, atlanta, austin, san \
         diego, phoenix",
    ),
    (
        "sports",
        "soccer, football, basketball, baseball, tennis, golf, hockey, volleyball, cricket, rugby, swimming, running, \
         cycling, boxing, wrestling, skiing, snowboarding, surfing, badminton, gymnastics, rowing, sailing, archery, \
         fencing, judo, karate, skating, softball, lacrosse, track, handball, climbing, bowling, racing, diving, polo, \
         squash",
    ),
    (
        "drinks",
        "water, milk, coffee, tea, juice, soda, lemonade, beer, wine, cola, coke, cocoa, hot chocolate, smoothie, \
         cider, whiskey, vodka, cocktail, milkshake, rum, gin, champagne, pepsi, sprite, latte, espresso, cappuccino, \
         mojito, margarita, martini, kombucha",
    ),
    (
        "parts of the body",
        "head, arm, leg, hand, foot, feet, eye, ear, nose, mouth, neck, shoulder, knee, elbow, finger, toe, back, \
         chest, stomach, heart, brain, lung, liver, kidney, skin, hair, tongue, tooth, teeth, chin, cheek, ankle, \
         wrist, hip, thigh, skeleton, spine, abdomen, muscle, bone, face, torso, lip, forehead, throat",
    ),
    (
        "pieces of clothing",
        "shirt, pants, dress, skirt, jacket, coat, sweater, hat, sock, shoe, glove, scarf, scarves, jeans, shorts, \
         blouse, tie, belt, suit, vest, hoodie, boot, sandal, cap, underwear, trousers, cardigan, pajamas, sneaker, \
         leggings, tshirt, sweatshirt, bra, mitten, blazer",
    ),
    (
        "vehicles",
        "car, truck, bus, bicycle, bike, motorcycle, train, airplane, plane, boat, ship, helicopter, van, taxi, \
         tractor, scooter, tram, subway, suv, sedan, ambulance, jeep, ferry, submarine, rocket, sled, wagon, \
         motorbike, minivan, limousine, aircraft",
    ),
    (
        "tools",
        "hammer, screwdriver, wrench, pliers, saw, drill, axe, shovel, rake, level, chisel, ruler, tape, knife, \
         knives, scissors, ladder, clamp, file, hoe, spade, crowbar, plane, vise, mallet, sander, hacksaw, chainsaw, \
         pickaxe, hatchet, nail, pitchfork",
    ),
    (
        "musical instruments",
        "piano, guitar, violin, drum, flute, trumpet, saxophone, cello, clarinet, harp, trombone, tuba, oboe, viola, \
         ukulele, banjo, accordion, harmonica, organ, bassoon, xylophone, tambourine, keyboard, bass, mandolin, \
         recorder, bagpipe, cymbal, lute, synthesizer, horn",
    ),
    (
        "pieces of furniture",
        "chair, table, bed, sofa, couch, desk, bookshelf, bookshelves, bookcase, dresser, wardrobe, cabinet, stool, \
         bench, armchair, nightstand, shelf, shelves, cupboard, recliner, ottoman, lamp, drawer, mattress, closet, \
         loveseat, futon, rug, mirror, sideboard",
    ),
    (
        "trees",
        "oak, pine, maple, birch, willow, elm, cedar, palm, fir, spruce, ash, beech, redwood, sequoia, cypress, \
         poplar, apple, cherry, walnut, chestnut, magnolia, eucalyptus, dogwood, sycamore, hickory, juniper, aspen, \
         bamboo, mahogany, olive, orange, pear, hemlock, acacia, teak, mango, banyan, larch",
    ),
    (
        "flowers",
        "rose, tulip, daisy, lily, sunflower, orchid, daffodil, violet, iris, lavender, carnation, marigold, poppy, \
         jasmine, lotus, peony, pansy, hibiscus, chrysanthemum, dandelion, lilac, magnolia, hyacinth, petunia, zinnia, \
         dahlia, begonia, geranium, azalea, hydrangea, gardenia, snapdragon, crocus, bluebell, camellia",
    ),
    (
        "jobs",
        "teacher, doctor, nurse, lawyer, engineer, farmer, chef, cook, artist, writer, actor, police, firefighter, \
         pilot, driver, scientist, dentist, plumber, electrician, carpenter, mechanic, accountant, musician, singer, \
         programmer, developer, designer, architect, journalist, manager, baker, barber, waiter, waitress, cashier, \
         librarian, salesperson, secretary, veterinarian, analyst, soldier, judge, consultant, therapist, marketer, \
         photographer, assistant, pharmacist",
    ),
    (
        "school subjects",
        "math, mathematics, science, history, english, art, music, geography, biology, chemistry, physics, literature, \
         language, spanish, french, economics, computer, physical education, pe, gym, social studies, algebra, \
         geometry, reading, writing, drama, philosophy, psychology, health, technology, civics, latin, german, \
         calculus, arithmetic",
    ),
    (
        "planets",
        "mercury, venus, earth, mars, jupiter, saturn, uranus, neptune, pluto",
    ),
    (
        "months of the year",
        "january, february, march, april, may, june, july, august, september, october, november, december",
    ),
    (
        "days of the week",
        "monday, tuesday, wednesday, thursday, friday, saturday, sunday",
    ),
    (
        "shapes",
        "circle, square, triangle, rectangle, oval, diamond, star, heart, pentagon, hexagon, octagon, cube, sphere, \
         cone, cylinder, pyramid, rhombus, trapezoid, parallelogram, ellipse, crescent, heptagon, polygon, prism, \
         cross",
    ),
    (
        "languages",
        "english, spanish, french, german, italian, portuguese, chinese, mandarin, japanese, korean, russian, arabic, \
         hindi, bengali, turkish, dutch, swedish, polish, greek, hebrew, latin, vietnamese, thai, swahili, urdu, \
         persian, farsi, norwegian, danish, finnish, cantonese, tamil, telugu, hungarian, czech, malay, indonesian, \
         python",
    ),
    (
        "metals",
        "iron, gold, silver, copper, aluminum, aluminium, steel, zinc, lead, tin, nickel, titanium, platinum, brass, \
         bronze, mercury, chromium, tungsten, magnesium, cobalt, lithium, sodium, potassium, calcium, uranium, \
         palladium",
    ),
    (
        "continents",
        "africa, asia, europe, north america, south america, australia, antarctica, oceania",
    ),
    (
        "pets",
        "dog, cat, fish, hamster, rabbit, parrot, guinea pig, turtle, snake, lizard, bird, goldfish, gerbil, mouse, \
         mice, rat, ferret, horse, canary, parakeet, tortoise, iguana, gecko, frog, chinchilla, hedgehog, puppy, \
         kitten",
    ),
    (
        "things in a kitchen",
        "knife, knives, fork, spoon, plate, bowl, cup, pan, pot, stove, oven, refrigerator, fridge, sink, microwave, \
         toaster, blender, kettle, table, chair, glass, mug, dishwasher, freezer, cutting board, spatula, whisk, \
         counter, cabinet, mixer, grater, utensil, dish, ladle, towel, skillet, saucepan, cupboard, peeler, \
         countertop, faucet, tongs",
    ),
    (
        "desserts",
        "cake, pie, ice cream, cookie, brownie, pudding, cheesecake, cupcake, donut, doughnut, tiramisu, mousse, tart, \
         custard, muffin, candy, chocolate, sorbet, gelato, pastry, fudge, macaron, eclair, crepe, waffle, crumble, \
         cobbler, parfait, jelly, baklava, sundae, trifle, souffle, panna cotta, creme brulee, crème brûlée, truffle",
    ),
];
